"""From an int8 `.tflite` to what the Edge TPU takes: accepted operator versions, then the compiler.

Without the compiler the file with the accepted versions is the result: good for emulation, and for
compiling it elsewhere. Isolated only.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.artifact import Artifact, save_manifest, sha256_file
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.host.scratch import scratch_folder
from harness.placement import Placement, PlacementReport
from harness.target import CompileRequest
from harness.verify.random_inputs import random_inputs
from targets.edge_tpu.compiled import CUSTOM_OP, compiled_report, left_on_cpu
from targets.edge_tpu.compiler import MISSING, Compiled, compile_model, find_compiler
from targets.edge_tpu.log import MAPPED
from targets.edge_tpu.placing import predict
from targets.edge_tpu.versions import rewrite

_PROOF_PROFILE = "litert-ref"
_PROOF_SEEDS = range(2)


def compile_edge_tpu(request: CompileRequest, progress: Progress) -> Artifact:
    """Make the artifact of a board with an Edge TPU.

    Raises:
        ModelError: the model is not quantized, or the compiler refused it.
    """
    content = request.lowered.path.read_bytes()
    path = request.folder / request.file
    graph = read_tflite(content, where=request.lowered.manifest.model).main
    if any(node.op == CUSTOM_OP for node in graph.nodes):
        path.write_bytes(content)
        return _finish(request, path, compiled_report(graph), ())
    prediction = predict(graph, where=request.lowered.manifest.model)
    content, changes = rewrite(content, where=request.lowered.manifest.model)
    notes: tuple[str, ...] = ()
    if changes:
        progress("proving that the arithmetic is unchanged", 0, None)
        proved = prove_unchanged(graph, read_tflite(content).main)
        notes = (f"rewritten for the Edge TPU compiler: {', '.join(changes)}; {proved}",)
    path.write_bytes(content)
    if find_compiler() is None:
        return _finish(request, path, None, (*notes, f"not compiled: {MISSING}"))
    progress("calling the Edge TPU compiler", 0, None)
    with scratch_folder() as folder:
        made = compile_model(path, folder)
        compiled = read_tflite(made.path).main
        report = _fact(prediction, compiled, made)
        path.write_bytes(made.path.read_bytes())
    return _finish(request, path, report, notes)


def prove_unchanged(before: Graph, after: Graph) -> str:
    """What shows that two graphs compute the same: every constant, node and option is equal, and
    the emulator computes the same tensors on random and extreme inputs.

    Raises:
        ModelError: they differ.
    """
    for x, y in zip(before.tensors, after.tensors, strict=True):
        same = (x.name, x.shape, x.dtype) == (y.name, y.shape, y.dtype)
        if not same or not np.array_equal(x.data, y.data):  # type: ignore[arg-type]  # None is equal
            raise ModelError(f"rewriting versions changed tensor {x.name!r}: a defect of edgefarm")
    inputs = random_inputs(before, _PROOF_SEEDS)
    profile = get_profile(_PROOF_PROFILE)
    first, second = (emulate(g, profile, inputs, all_tensors=True) for g in (before, after))
    for index, values in first.tensors.items():
        if not np.array_equal(values, second.tensors[index]):
            name = before.tensors[index].name
            raise ModelError(f"rewriting versions changed values of {name!r}: a defect of edgefarm")
    unknown = f", {len(first.unknown)} ops not" if first.unknown else ""
    return (
        f"constants are the same, and so are {len(first.tensors)} tensors emulated before and "
        f"after on {len(inputs[0])} inputs{unknown}"
    )


def _fact(prediction: PlacementReport, compiled: Graph, made: Compiled) -> PlacementReport:
    """Where the compiler put each op of the source, held against the prediction.

    An op stayed on the CPU when the compiled file has a node that makes the same tensor.
    """
    kept = {
        compiled.tensors[index].name
        for node in compiled.nodes
        if node.op != CUSTOM_OP
        for index in node.outputs
    }
    rows = [row for model in made.log.models for row in model.rows]
    placement, wrong = [], []
    for one in prediction.placement:
        on_cpu = one.output in kept
        said = {r.status for r in rows if r.op == one.op and (r.status != MAPPED) == on_cpu}
        why = f"compiler: {' or '.join(sorted(said)) or ('left' if on_cpu else MAPPED)}"
        if on_cpu == (one.where == "edge-tpu"):
            wrong.append(one)
            why += f"; predicted otherwise: {one.why}"
        elif on_cpu:
            why += f"; predicted: {one.why}"
        placement.append(replace(one, where="cpu" if on_cpu else "edge-tpu", why=why))
    left = tuple(one.node for one in placement if one.where == "cpu")
    return PlacementReport(tuple(placement), left, _fact_notes(compiled, made, wrong, left))


def _fact_notes(
    compiled: Graph, made: Compiled, wrong: list[Placement], left: tuple[int, ...]
) -> tuple[str, ...]:
    model = made.log.models[0]
    notes = [f"compiled by edgetpu_compiler {made.log.version}"]
    if model.cached_bytes is not None and model.remaining_bytes is not None:
        notes.append(
            f"on-chip memory for parameters: {model.cached_bytes:,} bytes used, "
            f"{model.remaining_bytes:,} remaining; {model.streamed_bytes or 0:,} bytes are streamed"
        )
    ops = ", ".join(f"{one.op} (node {one.node})" for one in wrong[:5])
    notes.append(
        f"the prediction was wrong for {len(wrong)} ops: {ops}"
        if wrong
        else "the prediction agrees with the compiler on every op"
    )
    remaining = Counter(left_on_cpu(compiled))
    if remaining.total() != len(left):
        notes.append(f"the compiled file keeps {remaining.total()} ops, {len(left)} were found")
    return tuple(notes)


def _finish(
    request: CompileRequest, path: Path, report: PlacementReport | None, notes: tuple[str, ...]
) -> Artifact:
    lowered = request.lowered.manifest
    manifest = replace(
        lowered,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        target=request.target,
        notes=(*lowered.notes, *notes),
        placement=report,
    )
    artifact = Artifact(path, manifest)
    save_manifest(artifact)
    return artifact
