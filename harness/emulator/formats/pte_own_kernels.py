"""Kernels of ExecuTorch that TFLite has no counterpart of: nodes under PyTorch's own names.

Each line names the kernel's arguments in their order, and what each is. Tensors become the node's
inputs, the others its options by these names; overloads of an operator share one name of the node.

Source: executorch kernels/portable/functions.yaml; aten's native_functions.yaml.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.emulator.formats.pte_arguments import Arguments

_TENSOR_KINDS: dict[str, Callable[[Arguments, int], list[int]]] = {
    "tensor": lambda a, i: [a.tensor_at(i)],
    "optional": lambda a, i: [a.optional_at(i)],
    "tensors": lambda a, i: a.tensors_at(i),
}
_OPTION_KINDS: dict[str, Callable[[Arguments, int], Any]] = {
    "int": lambda a, i: a.integer_at(i),
    "int?": lambda a, i: None if a.is_none(i) else a.integer_at(i),
    "bool": lambda a, i: bool(a.integer_at(i)),
    "ints": lambda a, i: a.integers_at(i),
    "real": lambda a, i: a.real_at(i),
    "reals": lambda a, i: a.reals_at(i),
    "number": lambda a, i: a.number_at(i),
    "number?": lambda a, i: None if a.is_none(i) else a.number_at(i),
    "text": lambda a, i: a.text_at(i),
    "unused": lambda _a, _i: None,
}
_UNARY = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "cos"),
    *("cosh", "erf", "exp", "expm1", "floor", "isinf", "isnan", "log", "log10", "log1p", "log2"),
    *("logical_not", "neg", "reciprocal", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "tan"),
    *("tanh", "trunc"),
)
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_DIMENSION = "x:tensor dim:int"
_REDUCED = "x:tensor dims:ints keepdim:bool"

_OWN: dict[str, str] = {
    # values from nothing
    "full.out": "size:ints value:number",
    "full_like.out": "x:tensor value:number dtype:unused",
    "fill.Scalar_out": "x:tensor value:number",
    "fill.Tensor_out": "x:tensor value:tensor",
    "scalar_tensor.out": "value:number",
    "zeros.out": "size:ints",
    "ones.out": "size:ints",
    "empty.out": "size:ints memory_format:unused",
    "arange.out": "end:number",
    "arange.start_out": "start:number end:number step:number",
    # moves
    "select_copy.int_out": f"{_DIMENSION} index:int",
    "slice_copy.Tensor_out": f"{_DIMENSION} start:int? end:int? step:int",
    "narrow_copy.out": f"{_DIMENSION} start:int length:int",
    "split_copy.Tensor_out": "x:tensor size:int dim:int",
    "split_with_sizes_copy.out": "x:tensor sizes:ints dim:int",
    "unbind_copy.int_out": _DIMENSION,
    "stack.out": "x:tensors dim:int",
    "transpose_copy.int_out": "x:tensor first:int second:int",
    "t_copy.out": "x:tensor",
    "unfold_copy.out": f"{_DIMENSION} size:int step:int",
    "as_strided_copy.out": "x:tensor size:ints stride:ints offset:int?",
    "diagonal_copy.out": "x:tensor offset:int first:int second:int",
    "repeat.out": "x:tensor repeats:ints",
    "flip.out": "x:tensor dims:ints",
    "roll.out": "x:tensor shifts:ints dims:ints",
    "pixel_shuffle.out": "x:tensor factor:int",
    "pixel_unshuffle.out": "x:tensor factor:int",
    "tril.out": "x:tensor diagonal:int",
    "copy.out": "x:tensor source:tensor",
    "cat.out": "x:tensors dim:int",
    "constant_pad_nd.out": "x:tensor padding:ints value:number",
    **{
        f"{kind}_pad{rank}d.out": "x:tensor padding:ints"
        for kind in ("reflection", "replication")
        for rank in (1, 2, 3)
    },
    "index.Tensor_out": "x:tensor indices:tensors",
    "index_select.out": f"{_DIMENSION} index:tensor",
    "index_put.out": "x:tensor indices:tensors values:tensor accumulate:bool",
    "scatter.src_out": f"{_DIMENSION} index:tensor source:tensor",
    "scatter.value_out": f"{_DIMENSION} index:tensor value:number",
    "scatter_add.out": f"{_DIMENSION} index:tensor source:tensor",
    "select_scatter.out": "x:tensor source:tensor dim:int index:int",
    "slice_scatter.out": "x:tensor source:tensor dim:int start:int? end:int? step:int",
    "masked_fill.Scalar_out": "x:tensor mask:tensor value:number",
    "masked_scatter.out": "x:tensor mask:tensor source:tensor",
    "where.self_out": "condition:tensor x:tensor other:tensor",
    "upsample_nearest2d.vec_out": "x:tensor size:ints scales:reals",
    # element by element
    **{f"{name}.out": "x:tensor" for name in _UNARY},
    **{f"{name}.Tensor_out": "x:tensor other:tensor" for name in _COMPARISONS},
    **{f"{name}.Scalar_out": "x:tensor other:number" for name in _COMPARISONS},
    **{
        f"{name}.{kind.capitalize()}_out": f"x:tensor other:{kind}"
        for name in ("fmod", "remainder", "bitwise_and", "bitwise_or", "bitwise_xor")
        for kind in ("tensor", "scalar")
    },
    **{
        f"{name}.out": "x:tensor other:tensor"
        for name in (
            *("atan2", "div", "floor_divide", "maximum", "minimum"),
            *("logical_and", "logical_or", "logical_xor"),
        )
    },
    "add.out": "x:tensor other:tensor alpha:number",
    "sub.out": "x:tensor other:tensor alpha:number",
    "mul.out": "x:tensor other:tensor",
    "sigmoid.out": "x:tensor",
    "relu.out": "x:tensor",
    "clamp.out": "x:tensor low:number? high:number?",
    "hardtanh.out": "x:tensor low:number high:number",
    "mul.Scalar_out": "x:tensor other:number",
    "add.Scalar_out": "x:tensor other:number alpha:number",
    "sub.Scalar_out": "x:tensor other:number alpha:number",
    "rsub.Scalar_out": "x:tensor other:number alpha:number",
    "div.Scalar_out": "x:tensor other:number",
    "div.out_mode": "x:tensor other:tensor mode:text",
    "div.Scalar_mode_out": "x:tensor other:number mode:text",
    "pow.Scalar_out": "base:number x:tensor",
    "pow.Tensor_Scalar_out": "x:tensor other:number",
    "pow.Tensor_Tensor_out": "x:tensor other:tensor",
    "clamp.Tensor_out": "x:tensor low:optional high:optional",
    "elu.out": "x:tensor alpha:real scale:real input_scale:real",
    "gelu.out": "x:tensor approximate:text",
    "leaky_relu.out": "x:tensor slope:real",
    "logit.out": "x:tensor eps:number?",
    # along dimensions
    "amax.out": _REDUCED,
    "amin.out": _REDUCED,
    "max.unary_out": "x:tensor",
    "min.unary_out": "x:tensor",
    "max.dim_max": f"{_DIMENSION} keepdim:bool",
    "min.dim_min": f"{_DIMENSION} keepdim:bool",
    "argmax.out": "x:tensor dim:int? keepdim:bool",
    "argmin.out": "x:tensor dim:int? keepdim:bool",
    "any.all_out": "x:tensor",
    "any.out": f"{_DIMENSION} keepdim:bool",
    "any.dims_out": _REDUCED,
    "prod.out": "x:tensor dtype:unused",
    "prod.int_out": f"{_DIMENSION} keepdim:bool dtype:unused",
    "sum.IntList_out": f"{_REDUCED} dtype:unused",
    "mean.out": f"{_REDUCED} dtype:unused",
    "mean.dtype_out": "x:tensor dtype:unused",
    "cumsum.out": f"{_DIMENSION} dtype:unused",
    "topk.values": "x:tensor k:int dim:int largest:bool sorted:bool",
    "var.out": "x:tensor dims:ints unbiased:bool keepdim:bool",
    "var.correction_out": "x:tensor dims:ints correction:number? keepdim:bool",
    "var_mean.correction_out": "x:tensor dims:ints correction:number? keepdim:bool",
    "_softmax.out": f"{_DIMENSION} half_to_float:unused",
    "_log_softmax.out": f"{_DIMENSION} half_to_float:unused",
    "glu.out": _DIMENSION,
    # sums of products, windows and norms
    "mm.out": "x:tensor other:tensor",
    "bmm.out": "x:tensor other:tensor",
    "addmm.out": "bias:tensor x:tensor other:tensor beta:number alpha:number",
    "convolution.out": "x:tensor weight:tensor bias:optional stride:ints padding:ints "
    "dilation:ints transposed:bool output_padding:ints groups:int",
    "avg_pool2d.out": "x:tensor window:ints stride:ints padding:ints ceil:bool "
    "count_padding:bool divisor:int?",
    "_adaptive_avg_pool2d.out": "x:tensor size:ints",
    "max_pool2d_with_indices.out": "x:tensor window:ints stride:ints padding:ints dilation:ints "
    "ceil:bool",
    "upsample_bilinear2d.vec_out": "x:tensor size:ints align_corners:bool scales:reals",
    "grid_sampler_2d.out": "x:tensor grid:tensor mode:int padding:int align_corners:bool",
    "native_group_norm.out": "x:tensor weight:optional bias:optional n:int c:int inner:int "
    "groups:int eps:real",
    "_native_batch_norm_legit_no_training.out": "x:tensor weight:optional bias:optional "
    "mean:tensor var:tensor momentum:unused eps:real",
    "_native_batch_norm_legit.no_stats_out": "x:tensor weight:optional bias:optional "
    "training:unused momentum:unused eps:real",
    "_cdist_forward.out": "x:tensor other:tensor p:real mode:unused",
}
_RESULTS = {
    **dict.fromkeys(("max.dim_max", "min.dim_min", "topk.values", "var_mean.correction_out"), 2),
    "max_pool2d_with_indices.out": 2,
    "native_group_norm.out": 3,
    "_native_batch_norm_legit_no_training.out": 3,
    "_native_batch_norm_legit.no_stats_out": 3,
}
"""How many tensors a kernel writes, where that is not one or a list."""
_DATA_DEPENDENT = ("nonzero.out", "masked_select.out", "repeat_interleave.Tensor_out")


def own_node(op: str, parameters: str, results: int = 1) -> Callable[[Arguments], None]:
    """What reads a call as a node.

    Args:
        op: the node's name.
        parameters: the kernel's arguments in their order, each ``name:kind``.
        results: how many tensors it writes.
    """
    pairs = [tuple(parameter.split(":")) for parameter in parameters.split()]

    def read(arguments: Arguments) -> None:
        inputs: list[int] = []
        options: dict[str, Any] = {"portable": True}
        for position, (name, kind) in enumerate(pairs):
            if kind in _TENSOR_KINDS:
                inputs += _TENSOR_KINDS[kind](arguments, position)
            elif kind != "unused":
                options[name] = _OPTION_KINDS[kind](arguments, position)
        if not inputs:  # what a profile decides by: the dtype of an input
            shape = np.asarray(arguments.builder[arguments.result].shape, np.int64)
            inputs = [arguments.builder.constant("size", shape)]
        outputs = arguments.results
        if results > 1:
            outputs = [arguments.tensor_at(len(pairs) + n) for n in range(results)]
        arguments.builder.node(op, inputs, outputs, options)

    return read


def _not_defined(op: str) -> Callable[[Arguments], None]:
    def read(arguments: Arguments) -> None:
        arguments.builder.node(op, arguments.all_tensors(), arguments.results)

    return read


OWN_KERNELS: dict[str, Callable[[Arguments], None]] = {
    **{
        f"aten::{name}": own_node(
            f"aten::{name.partition('.')[0]}",
            parameters.replace("scalar", "number"),
            _RESULTS.get(name, 1),
        )
        for name, parameters in _OWN.items()
    },
    "dim_order_ops::_empty_dim_order.out": own_node("aten::empty", "size:ints order:unused"),
    **{
        f"aten::{name}": _not_defined(
            f"aten::{name.partition('.')[0]}, whose size depends on the data"
        )
        for name in _DATA_DEPENDENT
    },
}
