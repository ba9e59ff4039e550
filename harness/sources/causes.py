"""Known causes of failed conversions: what the converters say, what it means, what to do.

A table: add an entry with its converter's own words to `tests/harness/test_causes.py`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError

if TYPE_CHECKING:
    import torch

_OTHER_OPS = "write it with other operations, or do it outside of the model"
_FIXED_SIZE = (
    "keep every shape the same for all values: multiply by a mask, or choose with torch.where"
)
_NO_SORT = (
    "return the scores and sort outside of the model; torch.max, torch.argmax and F.max_pool do run"
)
_FOURIER = (
    "compute spectra outside of the model, in the data; or write the transform as a product with "
    "two real matrices, of cosines and sines"
)
_SCATTER = (
    "add a product with a one-hot matrix in its place, e.g. y + update @ F.one_hot(index, n), or "
    "put the pieces together with torch.cat"
)
_REMEDIES = {
    "adaptive_max_pool": "take F.max_pool2d with a kernel and stride for the size of your input",
    "rand": "a model for a device draws no random numbers: dropout must be off (training=False)",
    "bernoulli": "a model for a device draws no random numbers: dropout must be off",
    "median": _NO_SORT,
    "sort": _NO_SORT,
    "topk": _NO_SORT,
    "quantile": _NO_SORT,
    "kthvalue": _NO_SORT,
    "_embedding_bag": "take nn.Embedding and sum or average its rows",
    "cumprod": "for positive numbers torch.exp(torch.cumsum(torch.log(x), dim)) is the same",
    "bucketize": "(x[..., None] > boundaries).sum(-1) is the same",
    "searchsorted": "(x[..., None] > boundaries).sum(-1) is the same",
    "_unique": _FIXED_SIZE,
    "masked_select": _FIXED_SIZE,
    "nonzero": _FIXED_SIZE,
    "_linalg": "compute decompositions and inverses outside of the model",
    "linalg": "compute decompositions and inverses outside of the model",
    "_fft": _FOURIER,
    "complex": _FOURIER,
}
"""By the beginning of the operator's name, without ``aten.``."""


@dataclass(frozen=True)
class Cause:
    """A known cause.

    Attributes:
        pattern: of all that the converter or runtime said; a group ``op`` names an operator.
        what: what is not possible; ``{op}`` stands for the operator.
        remedy: what to do; "" takes the one of the operator.
        ops: beginnings of operators' names, where the pattern has no group ``op``: where to look.
        is_it: tells such a node of the exported program from others of its operator.
    """

    pattern: str
    what: str
    remedy: str = ""
    ops: tuple[str, ...] = ()
    is_it: "Callable[[torch.fx.Node], bool]" = lambda _node: True


@dataclass(frozen=True)
class Explanation:
    """A cause as it was found in a message.

    Attributes:
        what: what is not possible.
        remedy: what to do.
        ops: beginnings of operators' names that it may be.
        is_it: see `Cause`.
    """

    what: str
    remedy: str
    ops: tuple[str, ...] = ()
    is_it: "Callable[[torch.fx.Node], bool]" = lambda _node: True


def _has(name: str, usual: Any) -> "Callable[[torch.fx.Node], bool]":  # noqa: ANN401
    return lambda node: bool(node.kwargs.get(name, usual) != usual)


_OP = r"(?:aten[.:]+|edge__ops_aten[_.])?(?P<op>\w+)"
CAUSES = (
    Cause(
        r"_aten_(?:add|sub)_\w+\(\) got an unexpected keyword argument 'alpha'",
        "the LiteRT converter takes no alpha in torch.add and torch.sub",
        "write x + a * y",
        ("add", "sub", "rsub"),
        _has("alpha", 1),
    ),
    Cause(
        r"_aten_(?P<op>\w+?)_\w+\(\) got an unexpected keyword argument",
        "the LiteRT converter takes not every argument of {op}",
        "leave the argument out, or write the same with other operations",
    ),
    Cause(
        r"Value: \[.*?'(?:s', 'a', 'm', 'e|v', 'a', 'l', 'i', 'd)'\]",
        "the LiteRT converter takes no padding='same' or 'valid' here",
        "pad explicitly: F.pad(x, (left, right)), and padding=0",
        ("conv1d", "conv2d", "conv3d"),
        lambda node: str(node.target).endswith(".padding"),
    ),
    Cause(
        r"failed to legalize operation '[ms]\w*hlo\.convolution'(?=.*lhs_dilation)",
        "LiteRT has no transposed convolution of this kernel size, stride, padding, output_padding "
        "or dilation",
        "take padding=0 without output_padding and dilation, and cut or pad its result; or "
        "kernel_size = stride + 2 * padding",
        ("conv_transpose",),
    ),
    Cause(
        r"failed to legalize operation '[ms]\w*hlo\.round_nearest_afz'",
        "LiteRT has no division or remainder that rounds like this",
        "write torch.floor(x / y)",
        ("div.Tensor_mode", "floor_divide", "remainder", "round"),
    ),
    Cause(
        r"(?:torch\.complex\d+|complex<f\d+>|ComplexFloat|stablehlo\.fft)",
        "complex numbers and Fourier transforms do not convert",
        _FOURIER,
        ("_fft", "fft", "stft", "istft", "view_as_complex", "complex", "polar"),
    ),
    Cause(
        r"The size argument of jnp\.nonzero|ConcretizationTypeError",
        "the size of a result depends on the values",
        _FIXED_SIZE,
        ("nonzero", "masked_select", "index.Tensor", "_unique", "repeat_interleave"),
    ),
    Cause(
        r"STABLEHLO_SORT",
        "LiteRT's runtime has no sort (nor topk, argsort, median, quantile)",
        _NO_SORT,
        ("sort", "topk", "argsort", "median", "quantile", "nanquantile", "kthvalue"),
    ),
    Cause(
        r"stablehlo\.scatter|STABLEHLO_SCATTER",
        "LiteRT's runtime takes no scatter of this kind (index_add, scatter_add, index_put, fold)",
        _SCATTER,
        ("index_add", "scatter", "index_put", "index_copy", "index_fill", "col2im", "put"),
    ),
    Cause(
        r"builtin opcode '(?P<op>\w+)'",
        "LiteRT's runtime has no kernel for {op}",
        _OTHER_OPS,
    ),
    Cause(
        r"Number of input tokens \(\d+\) does not match",
        "decompositions and inverses of matrices do not convert",
        "compute them outside of the model",
        ("linalg", "inverse", "_linalg", "cholesky", "svd", "triangular_solve"),
    ),
    Cause(
        rf"Lowering not found: {_OP}",
        "the LiteRT converter has no {op}",
    ),
    Cause(
        r"failed to legalize operation '(?P<op>[\w.]+)'",
        "nothing in LiteRT does what the converter calls {op}",
        _OTHER_OPS,
        ("any",),
    ),
    Cause(
        rf"Operator torch\._ops\.{_OP}\.\w+ is not in Core ATen opset",
        "ExecuTorch has no {op}",
    ),
    Cause(
        rf"Missing out variants: \{{[\"']{_OP}",
        "ExecuTorch has no kernel for {op}",
    ),
    Cause(
        r"Missing operator: \[\d+\] aten::(?P<op>[a-z]\w*?)(?:_copy)?(?:\.|$)",
        "ExecuTorch's portable kernels have no {op}",
    ),
    Cause(
        r"Check failed \([^\n]*?\): Expect input tensor to be 3-D or 4-D.*?"
        r"KernelCall failed at instruction \S+ in operator aten::(?P<op>\w+)",
        "ExecuTorch's portable {op} takes 3-D and 4-D tensors only",
        "take the one- or two-dimensional form, e.g. of a Conv3d several Conv2d, summed",
    ),
    Cause(
        r"KernelCall failed at instruction \S+ in operator aten::(?P<op>\w+)",
        "ExecuTorch's kernel of {op} refuses these sizes or types",
        "see the lines with 'Check failed' in the log; " + _OTHER_OPS,
    ),
    Cause(
        r"Could not guard on data-dependent expression|Could not extract specialized integer"
        r"|data-dependent (?:control flow|branching)",
        "an if, a loop or a size depends on the values of a tensor",
        "choose with torch.where, or compute it outside of the model",
    ),
    Cause(
        r"ended by SIGKILL",
        "the process was killed; memory may have run out",
        "free memory, or take a smaller model or fewer samples",
    ),
)


def explain(raw: str) -> Explanation | None:
    """The first cause in the table that fits what was said; None for an unknown one."""
    for cause in CAUSES:
        found = re.search(cause.pattern, raw, re.DOTALL)
        if found is None:
            continue
        op = found.groupdict().get("op") or ""
        named = (op,) if op and op.islower() else ()
        remedy = cause.remedy or _remedy(op)
        what = cause.what.replace("{op}", op)
        return Explanation(what, remedy, cause.ops or named, cause.is_it)
    return None


def in_words(known: Explanation, where: str, error: ModelError) -> ModelError:
    """A known cause as an error: where, what is not possible, what to do, and the raw words' log.

    Args:
        where: the model, and the place in it.
        error: of the process that failed.
    """
    return ModelError(
        f"{where}: {known.what}. What to do: {known.remedy}. The tool's own words: {error.log}",
        raw=error.raw,
        log=error.log,
        place=error.place,
    )


def _remedy(op: str) -> str:
    for start, remedy in _REMEDIES.items():
        if op.startswith(start):
            return remedy
    return _OTHER_OPS
