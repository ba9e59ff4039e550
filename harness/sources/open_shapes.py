"""``.tflite`` files that leave sizes of their inputs open: named with ``--shape in0=1,224,224,3``,
they become files of fixed sizes, which everything else takes like any other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifact import sha256_file
from harness.emulator.formats.model_file import read_model
from harness.emulator.formats.tflite import MAX_ELEMENTS
from harness.emulator.graph import Tensor
from harness.errors import HarnessError, ModelError, UsageError
from harness.host.cache import Cache, content_key
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.host.wording import first_line

Shape = tuple[int, ...]

_TIMEOUT_S = 600.0


def parse_shapes(given: Sequence[str]) -> dict[int, Shape]:
    """``in0=1,224,224,3`` by the input's position.

    Raises:
        UsageError: one is written otherwise, or names an input twice.
    """
    shapes: dict[int, Shape] = {}
    for text in given:
        name, _, sizes = text.partition("=")
        parts = sizes.split(",")
        number = name.strip().removeprefix("in")
        if not (number.isdecimal() and all(part.strip().isdecimal() for part in parts)):
            raise UsageError(f"--shape {text}: expected e.g. in0=1,224,224,3")
        shape = tuple(int(part) for part in parts)
        if min(shape) < 1 or int(np.prod(shape, dtype=object)) > MAX_ELEMENTS:
            raise UsageError(f"--shape {text}: sizes are at least 1, {MAX_ELEMENTS} in all")
        if int(number) in shapes:
            raise UsageError(f"--shape {text}: in{int(number)} was given before")
        shapes[int(number)] = shape
    return shapes


def with_shapes(
    path: Path, given: Sequence[str], cache: Cache, progress: Progress = no_progress
) -> Path:
    """The file with its inputs' open sizes fixed; the file itself where none are given.

    Args:
        path: the file; untrusted.
        given: see `parse_shapes`.

    Returns:
        A file of the same name, in the cache.

    Raises:
        UsageError: it is no ``.tflite``, has no such input, or fixes a size that was given.
        ModelError: it is broken, or cannot have these sizes.
    """
    shapes = parse_shapes(given)
    if not shapes:
        return path
    if path.suffix != ".tflite":
        raise UsageError(f"--shape is for .tflite files; got {path}")
    inputs = _inputs(path)
    for position, shape in shapes.items():
        if position >= len(inputs):
            raise UsageError(f"{path}: has {len(inputs)} inputs, no in{position}")
        tensor = inputs[position]
        if not _may_have(tensor, shape):
            raise UsageError(
                f"{path}: in{position} ({tensor.name!r}) takes {_sizes(tensor)}, ? being open; "
                f"got --shape in{position}={','.join(map(str, shape))}"
            )
    key = content_key({"file": sha256_file(path), "shapes": sorted(shapes.items())})
    entry = cache.entry("shaped", key) / path.name
    if not entry.exists():
        progress("fixing the shapes", 0, None)
        with cache.fill("shaped", key) as folder:
            run_isolated(
                _write_fixed,
                path.absolute(),
                shapes,
                folder / path.name,
                what=f"{path} with --shape {' '.join(given)}",
                timeout_s=_TIMEOUT_S,
            )
    return entry


def _inputs(path: Path) -> list[Tensor]:
    graph = read_model(path).main
    return [graph.tensors[index] for index in graph.inputs]


def open_hint(path: Path) -> str:
    """Which sizes a file leaves open and how to name them; "" where all are fixed, or where it
    cannot be read."""
    try:
        inputs = _inputs(path)
    except HarnessError:
        return ""
    for position, tensor in enumerate(inputs):
        if tensor.free_axes:
            free = tensor.free_axes
            example = [224 if axis in free and axis else n for axis, n in enumerate(tensor.shape)]
            return (
                f"{path.name} leaves sizes of in{position} ({tensor.name!r}) open, which takes "
                f"{_sizes(tensor)}: name them, e.g. "
                f"--shape in{position}={','.join(map(str, example))}"
            )
    return ""


def _sizes(tensor: Tensor) -> str:
    return ",".join("?" if i in tensor.free_axes else str(n) for i, n in enumerate(tensor.shape))


def _may_have(tensor: Tensor, shape: Shape) -> bool:
    return len(shape) == len(tensor.shape) and all(
        axis in tensor.free_axes or size == fixed
        for axis, (size, fixed) in enumerate(zip(shape, tensor.shape, strict=True))
    )


def _write_fixed(path: Path, shapes: dict[int, Shape], out: Path, _progress: Progress) -> None:
    """Isolated only: the runtime works out all other sizes."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = path.read_bytes()
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    details = interpreter.get_input_details()
    try:
        for position, shape in shapes.items():
            interpreter.resize_tensor_input(details[position]["index"], shape)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot have these sizes: {first_line(str(error))}") from error
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for number, graph in enumerate(model.subgraphs):
        found = {x["index"]: x["shape"] for x in interpreter.get_tensor_details(number)}
        for index, tensor in enumerate(graph.tensors):
            _fix(tensor, found.get(index))
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    out.write_bytes(bytes(builder.Output()))


def _fix(tensor: Any, shape: Any) -> None:  # noqa: ANN401  the schema's tensor; an array or None
    if tensor.shapeSignature is None or shape is None:
        return
    if list(shape) != list(tensor.shape):
        tensor.shape, tensor.shapeSignature = np.asarray(shape, np.int32), None
