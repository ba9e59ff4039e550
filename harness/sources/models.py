"""MODEL references: ``path/file.py:function``, ``zoo:NAME``, ``.pt2``, ``.tflite``, ``.pte``.

User code, torch and the runtimes are loaded only in an isolated process. The functions here that
say "isolated only" run there. Isolation contains crashes, not malice: a ``.py`` file is code, and
torch unpickles parts of a ``.pt2``, so both run with the caller's rights. A ``.tflite`` is data.
"""

import hashlib
import importlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifact import Manifest, manifest_beside, own_shape, sha256_file
from harness.emulator.formats.model_file import FORMATS, is_lowered
from harness.emulator.formats.tflite import read_tflite
from harness.errors import ModelError, UsageError
from harness.host.cache import content_key, default_cache
from harness.host.extras import require_extra
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.host.wording import first_line
from harness.model import Model, ModelInput, ModelOutput
from harness.sources.batches import find_batch
from harness.sources.causes import explain, in_words
from harness.sources.flat import flat_module, flatten
from harness.sources.hints import with_hint
from harness.sources.open_shapes import open_hint, with_shapes
from harness.sources.other_formats import TORCHSCRIPT
from harness.sources.references import Reference, load_function, parse_reference
from harness.sources.remembered import remembered

if TYPE_CHECKING:
    import torch

    Module = tuple["torch.nn.Module", tuple["torch.Tensor", ...]]
    Original = tuple["torch.nn.Module", tuple[Any, ...], Mapping[str, Any]]

_TIMEOUT_S = 600.0
_SUFFIXES = (".pt2", *(one.suffix for one in FORMATS.values()))
COMPILED_OPS = ("edgetpu-custom-op", "DISPATCH_OP")
"""What accelerators' compilers put in place of the ops that they took."""


def parse_model(text: str) -> Reference:
    """Parse a MODEL reference; raises UsageError naming what is expected."""
    suffixes = _SUFFIXES
    if is_lowered(Path(text).suffix):
        suffixes = (*_SUFFIXES, *{Path(text).suffix}.difference(_SUFFIXES))
    return parse_reference(text, what="model", suffixes=suffixes, folder=False)


def open_model(text: str, progress: Progress = no_progress, *, shapes: Sequence[str] = ()) -> Model:
    """Load the model once, in isolation, and describe it.

    Args:
        shapes: sizes of inputs that a ``.tflite`` leaves open, see `harness.sources.open_shapes`.

    Raises:
        UsageError: no such file, unknown suffix, function missing or returning the wrong thing.
        ModelError: the file is broken, or the model cannot be exported.
    """
    reference = parse_model(text)
    if not is_lowered(reference.kind):
        require_extra("litert", "torch")
    if shapes:
        if reference.path is None or reference.kind != ".tflite":
            raise UsageError(f"--shape is for .tflite files; got {text}")
        fixed = with_shapes(reference.path, shapes, default_cache(), progress)
        reference = replace(reference, path=fixed)
    progress("loading the model", 0, None)
    try:
        return remembered(
            text,
            reference,
            lambda: run_isolated(
                _describe, text, reference, what=text, timeout_s=_TIMEOUT_S, progress=progress
            ),
        )
    except ModelError as error:
        known = explain(error.raw)
        if known is None:
            raise
        at = f": {error.place}" if error.place else ""
        raise in_words(known, text + at, error) from error


def load_module(reference: Reference) -> "Module":
    """The model in evaluation mode, and its example inputs. Isolated only; not for ``.tflite``.

    It takes tensors and returns a tuple of tensors, whatever the submitter's module takes and
    returns; see `harness.sources.flat`.

    Raises:
        UsageError: the function is missing or returns the wrong thing.
        ModelError: the ``.pt2`` is broken.
    """
    module, args, kwargs = load_original(reference)
    return flat_module(module, args, kwargs), _tensors(args, kwargs)


def load_float32(reference: Reference) -> "Module":
    """As `load_module`, with parameters and example inputs of any other float type in float32:
    what is lowered."""
    module, examples = load_module(reference)
    return module.float(), tuple(x.float() if x.is_floating_point() else x for x in examples)


def load_original(reference: Reference) -> "Original":
    """The submitter's module in evaluation mode, and its positional and keyword example inputs.

    Isolated only; not for ``.tflite``. Raises as `load_module`. A function that draws weights or
    examples at random gives the same ones in every process.
    """
    _seed()
    if reference.kind == ".pt2" and reference.path is not None:
        return _load_exported(reference.path)
    if reference.kind == "zoo":
        module = importlib.import_module(f"harness.sources.zoo.{reference.name.replace('-', '_')}")
        network, args, kwargs = _checked(module.model(), str(reference))
    else:
        network, args, kwargs = _checked(load_function(reference)(), str(reference))
    return network.eval(), args, kwargs


def _seed() -> None:
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((flatten(args).tensors | flatten(kwargs).tensors).values())


def _checked(value: object, where: str) -> "Original":
    import torch

    wanted = f"{where}: must return (torch.nn.Module, tuple of example tensors)"
    if not isinstance(value, tuple) or len(value) != 2:
        raise UsageError(f"{wanted}, got {_describe_value(value)}")
    module, examples = value
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{wanted}; the first of the pair is {_describe_value(module)}")
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(f"{wanted}; the first of the pair is no ordinary module: {TORCHSCRIPT}")
    if not isinstance(examples, tuple | list | dict) or not examples:
        raise UsageError(f"{wanted}; the second of the pair is {_describe_value(examples)}")
    args, kwargs = ((), examples) if isinstance(examples, dict) else (tuple(examples), {})
    given = [flatten(side) for side in (args, kwargs)]
    for path, example in (given[0].others | given[1].others).items():
        if not isinstance(example, int | float | str | None) or not any(x.tensors for x in given):
            raise UsageError(
                f"{wanted}; example {path} is {_describe_value(example)}, not a tensor; "
                "also taken: tuples, lists and dicts of tensors, a dict for keyword inputs"
            )
    return module, args, kwargs


def _describe_value(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"


def _load_exported(path: Path) -> "Original":
    import torch

    try:
        program = torch.export.load(path)
        module = program.module(check_guards=False)
    except Exception as error:  # torch raises anything from KeyError to its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable torch.export program: {reason}") from error
    args, kwargs = program.example_inputs or ((), {})
    if not _tensors(args, kwargs):
        raise ModelError(f"{path}: was exported without example inputs")
    return module, args, kwargs


def _describe(text: str, reference: Reference, _progress: Progress) -> Model:
    """Isolated only."""
    if reference.path is not None and is_lowered(reference.kind):
        own = manifest_beside(reference.path)
        if reference.kind != ".tflite":
            return _described_by(own, text, reference.path)
        described = _describe_tflite(text, reference.path)
        return described if own is None else _in_own_layout(described, own)
    import torch

    module, args, kwargs = load_original(reference)
    examples = flatten(args).tensors | flatten(kwargs).tensors
    flat = flat_module(module, args, kwargs)
    program = torch.export.export(flat, tuple(examples.values()), strict=False)
    with torch.no_grad():
        returned = flatten(module(*args, **kwargs))
    inputs = tuple(
        ModelInput(tuple(x.shape), _dtype(x), name="" if name.isdecimal() else name)
        for name, x in examples.items()
    )
    outputs = tuple(
        ModelOutput(name, tuple(x.shape), _dtype(x)) for name, x in returned.tensors.items()
    )
    if not outputs:
        raise ModelError(f"{text}: returns no tensor, got {_kinds(returned.others)}")
    return Model(
        text,
        str(reference),
        _digest(program, inputs, outputs),
        _with_batch(inputs, outputs),
        outputs=outputs,
        notes=_notes(module, examples, returned.others),
    )


def _with_batch(
    inputs: tuple[ModelInput, ...], outputs: tuple[ModelOutput, ...]
) -> tuple[ModelInput, ...]:
    """The inputs, marked whether they are batches."""
    batch = find_batch([x.shape for x in inputs], [x.shape for x in outputs])
    return tuple(replace(x, batched=x.shape[:1] == (batch,)) for x in inputs)


def _notes(
    module: "torch.nn.Module", examples: Mapping[str, Any], others: Mapping[str, object]
) -> tuple[str, ...]:
    """What the reader should know of a module: what is converted, what is left out."""
    notes = []
    tensors = (*module.parameters(), *module.buffers(), *examples.values())
    kinds = {str(x.dtype).removeprefix("torch.") for x in tensors if x.is_floating_point()}
    if other := sorted(kinds - {"float32"}):
        notes.append(
            f"parameters or inputs are {', '.join(other)}: lowered in float32, "
            "and held against the model in its own type"
        )
    if others:
        notes.append(f"outputs that are no tensors are left out: {_kinds(others)}")
    return tuple(notes)


def _dtype(x: "torch.Tensor") -> str:
    """As numpy calls it, which has no bfloat16."""
    return str(x.dtype).removeprefix("torch.").replace("bfloat16", "float32")


def _kinds(others: Mapping[str, object]) -> str:
    return ", ".join(f"{path} ({type(value).__name__})" for path, value in others.items())


def _digest(
    program: "torch.export.ExportedProgram",
    inputs: tuple[ModelInput, ...],
    outputs: tuple[ModelOutput, ...],
) -> str:
    """What names a model by its content: the graph, the weights, the inputs and outputs."""
    import torch

    digest = hashlib.sha256(program.graph_module.code.encode())
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        digest.update(name.encode())
        if isinstance(tensor, torch.Tensor):
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
            digest.update(array.flatten().view(torch.uint8).numpy().data)
    digest.update(repr((inputs, outputs)).encode())
    return digest.hexdigest()


def _in_own_layout(model: Model, own: Manifest) -> Model:
    """A file that edgefarm made, as the model that it was made from takes and gives its tensors."""
    inputs = tuple(
        replace(x, shape=own_shape(spec), batched=spec.batched)
        for x, spec in zip(model.inputs, own.inputs, strict=True)
    )
    outputs = tuple(
        replace(y, shape=own_shape(spec))
        for y, spec in zip(model.outputs, own.outputs, strict=True)
    )
    note = f"{Path(model.resolved).name} was made of {own.model} by recipe {own.recipe}"
    layouts = [(spec.permutation, spec.batched) for spec in (*own.inputs, *own.outputs)]
    return replace(
        model,
        sha256=content_key({"file": model.sha256, "layouts": layouts}),
        inputs=inputs,
        outputs=outputs,
        notes=(*model.notes, f"{note}; data are in that model's layout, as its manifest says"),
        recipe=own.recipe if model.quantized else "",
        recipe_digest=own.recipe_digest if model.quantized else "",
    )


def _described_by(own: Manifest | None, text: str, path: Path) -> Model:
    """A file other than ``.tflite``: what its integers mean is in its manifest alone."""
    if own is None:
        raise UsageError(
            f"model {text!r}: {path.name}.json is not beside it, or is another file's; only that "
            "manifest says how samples become the program's integers. Keep the two files that "
            f"`edgefarm quantize` wrote together; for a {path.suffix} of another origin, `edgefarm "
            "verify` and `edgefarm emulate` take the integers themselves"
        )
    inputs = tuple(ModelInput(x.shape, x.dtype, x.quantization is not None) for x in own.inputs)
    outputs = tuple(
        ModelOutput(y.name, y.shape, y.dtype, y.quantization is not None) for y in own.outputs
    )
    described = Model(text, str(path), own.sha256, inputs, quantized=True, outputs=outputs)
    return _in_own_layout(described, own)


def is_compiled(path: Path) -> bool:
    """Whether a `.tflite` was compiled for an accelerator: no runtime of this host opens it."""
    return any(node.op in COMPILED_OPS for node in read_tflite(path).main.nodes)


def _describe_compiled(text: str, path: Path) -> Model:
    graph = read_tflite(path).main
    takes, gives = (
        [graph.tensors[index] for index in side] for side in (graph.inputs, graph.outputs)
    )
    inputs = tuple(ModelInput(x.shape, x.dtype, x.quantization is not None) for x in takes)
    outputs = tuple(
        ModelOutput(x.name, x.shape, x.dtype, x.quantization is not None) for x in gives
    )
    inputs, digest = _with_batch(inputs, outputs), sha256_file(path)
    return Model(text, str(path), digest, inputs, quantized=True, compiled=True, outputs=outputs)


def _describe_tflite(text: str, path: Path) -> Model:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if is_compiled(path):
        return _describe_compiled(text, path)
    try:
        interpreter = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = first_line(str(error)) or type(error).__name__
        said = f"{path}: not a readable .tflite model: {reason}"
        raise ModelError(with_hint(said, open_hint(path))) from error
    inputs = tuple(
        ModelInput(
            _shape(detail),
            detail["dtype"].__name__,
            _has_scale(detail),
            free_axes=tuple(np.flatnonzero(detail["shape_signature"] == -1).tolist()),
        )
        for detail in interpreter.get_input_details()
    )
    outputs = tuple(
        ModelOutput(detail["name"], _shape(detail), detail["dtype"].__name__, _has_scale(detail))
        for detail in interpreter.get_output_details()
    )
    quantized = any(_has_scale(detail) for detail in interpreter.get_tensor_details())
    inputs = _with_batch(inputs, outputs)
    return Model(text, str(path), sha256_file(path), inputs, quantized, outputs=outputs)


def _shape(detail: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in detail["shape"])


def _has_scale(detail: Mapping[str, Any]) -> bool:
    return bool(detail["quantization_parameters"]["scales"].size > 0)
