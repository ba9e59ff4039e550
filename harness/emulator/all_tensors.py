"""A model whose every computed tensor is an output, as an artifact that runs like any other."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.artifact import Artifact, Quantization, TensorSpec, describe
from harness.emulator.formats import pte_all_tensors as expose_pte
from harness.emulator.formats.model_content import read_content
from harness.emulator.formats.model_file import PTE, TFLITE, format_of
from harness.emulator.formats.pte import read_method
from harness.emulator.formats.tflite import read_tflite, stored_dtype
from harness.emulator.formats.tflite_all_tensors import expose_all_tensors, exposed_tensors
from harness.emulator.graph import Graph, Tensor
from harness.errors import ModelError, UsageError


@dataclass(frozen=True, eq=False)
class Exposed:
    """An exposed artifact.

    Attributes:
        artifact: its outputs are every computed tensor.
        tensors: their indices in the original graph, in the order of the outputs.
        graph: the original's.
    """

    artifact: Artifact
    tensors: tuple[int, ...]
    graph: Graph


def expose(path: Path, folder: Path, *, signature: str | None = None) -> Exposed:
    """Write the exposed form of a model file into `folder`.

    Args:
        path: the file; untrusted.
        folder: for the artifact.
        signature: of a `.tflite` file, whose graph is meant; None for the main one.

    Raises:
        UsageError: the file cannot be read, or there is no such signature.
        ModelError: it is broken, or an input or output does not hold numbers.
    """
    where = str(path)
    content = read_content(path)
    form = format_of(content)
    if form not in (TFLITE, PTE):
        if signature is not None:
            raise UsageError(f"signature {signature!r}: a {form.suffix} file has none")
        if form.expose is None:
            raise ModelError(f"{where}: in a {form.suffix} file, tensors inside cannot be outputs")
        graph = form.read(content, where=where).main
        content, tensors = form.expose(content, where)
    elif form is PTE:
        if signature is not None:
            raise UsageError(f"signature {signature!r}: a .pte file has none")
        method = read_method(content, where=where)
        graph, tensors = method.graph, expose_pte.exposed_tensors(method)
        content = expose_pte.expose_program(method, where=where)
    else:
        model = read_tflite(content, where=where)
        number = 0 if signature is None else model.entry_point(signature).graph
        graph, tensors = model.graphs[number], exposed_tensors(model.graphs[number])
        content = expose_all_tensors(content, number=number, where=where)
    inputs, outputs = (
        tuple(_spec(graph.tensors[index], where) for index in indices)
        for indices in (graph.inputs, tensors)
    )
    written = folder / f"{hashlib.sha256(content).hexdigest()}{path.suffix}"
    written.write_bytes(content)
    return Exposed(describe(written, form.runtime, where, inputs, outputs), tensors, graph)


def _spec(tensor: Tensor, where: str) -> TensorSpec:
    dtype = stored_dtype(tensor.dtype)
    if dtype is None:
        raise ModelError(f"{where}: tensor {tensor.name!r} has dtype {tensor.dtype}, not numbers")
    quantization = None
    if tensor.quantization is not None and len(tensor.quantization.scales) == 1:
        quantization = Quantization(
            float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0])
        )
    return TensorSpec(tensor.name, tensor.shape, dtype.name, quantization)
