"""Placement on the tensor processor and compilation for it, by LiteRT's plug-in. Isolated only."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Artifact, save_manifest, sha256_file
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.host.scratch import scratch_folder
from harness.placement import Placement, PlacementReport
from harness.target import CompileRequest
from targets.hexagon.dispatch import OP, read_compiled
from targets.hexagon.emulate import emulate_htp
from targets.hexagon.plugin import Compilation, apply_plugin
from targets.hexagon.sdk import library_folder, require_licence

_INTEGERS = ("int8", "uint8", "int16", "uint16")


def check_hexagon(path: Path, soc: str | None, progress: Progress) -> PlacementReport:
    """Where the ops of a `.tflite` run on a chip: what the compiler takes is on the tensor
    processor. It is compiled for that, and not kept.

    Raises:
        UsageError: Qualcomm's libraries are missing, or their licence is not accepted.
        ModelError: the file is broken or not quantized, or the compiler fails.
    """
    library_folder()
    require_licence()
    graph = read_tflite(path).main
    if any(node.op == OP for node in graph.nodes):
        return _compiled_report(path, graph)
    with scratch_folder() as folder:
        return _compile(path, folder / "model.tflite", soc or "", progress)[0]


def compile_hexagon(request: CompileRequest, progress: Progress) -> Artifact:
    """Compile an artifact for a chip, and run what came out once on the emulator.

    Raises:
        UsageError: Qualcomm's libraries are missing, or their licence is not accepted.
        ModelError: the model is not quantized, compiled for another chip, or refused.
    """
    library_folder()
    require_licence()
    soc, path = request.soc or "", request.folder / request.file
    lowered = request.lowered
    graph = read_tflite(lowered.path).main
    if any(node.op == OP for node in graph.nodes):
        report, build = _compiled_report(lowered.path, graph), "not said"
        path.write_bytes(lowered.path.read_bytes())
    else:
        report, done = _compile(lowered.path, path, soc, progress)
        build = done.build
    made = read_compiled(path)
    if made.soc != soc:
        raise ModelError(f"{lowered.manifest.model}: compiled for {made.soc}, asked for {soc}")
    facts = {}
    if not report.left:
        progress("running it once on the emulator", 0, None)
        facts = dict(emulate_htp(path, soc, _zeros(graph), progress).facts)
    manifest = replace(
        lowered.manifest,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        target=request.target,
        soc=soc,
        placement=report,
        vendor_build="" if build == "not said" else build,
        tool_versions=lowered.manifest.tool_versions | {"QAIRT build": build} | facts,
    )
    artifact = Artifact(path, manifest)
    save_manifest(artifact)
    return artifact


def _compile(
    source: Path, target: Path, soc: str, progress: Progress
) -> tuple[PlacementReport, Compilation]:
    graph = read_tflite(source).main
    _refuse_floats(graph, source)
    progress(f"calling the Qualcomm compiler for {soc}", 0, None)
    done = apply_plugin(source, target, soc)
    kept = _names_made(read_tflite(target).main)
    placement = tuple(_placed(graph, index, kept, soc) for index in range(len(graph.nodes)))
    left = tuple(one.node for one in placement if one.where == "cpu")
    notes = [f"compiled with QAIRT {done.build}: {done.taken} of {done.total} ops taken"]
    if left:
        notes.append("the rest runs in LiteRT's CPU kernels; the emulator then stands for nothing")
    return PlacementReport(placement, left, tuple(notes)), done


def _names_made(compiled: Graph) -> set[str]:
    """What the ops outside the accelerator make."""
    nodes = [node for node in compiled.nodes if node.op != OP]
    return {compiled.tensors[index].name for node in nodes for index in node.outputs}


def _placed(graph: Graph, index: int, kept: set[str], soc: str) -> Placement:
    node = graph.nodes[index]
    output = graph.tensors[node.outputs[0]].name if node.outputs else ""
    if output not in kept:
        return Placement(node.index, node.op, output, "hexagon", f"taken by the compiler for {soc}")
    why = (
        f"the Qualcomm compiler for {soc} did not take it: use an op, dtype or shape that it has, "
        "or move it to the end of the model"
    )
    return Placement(node.index, node.op, output, "cpu", why)


def _compiled_report(path: Path, graph: Graph) -> PlacementReport:
    """Of a file that came compiled."""
    made = read_compiled(path)
    placement = tuple(
        Placement(
            node.index,
            node.op,
            graph.tensors[node.outputs[0]].name if node.outputs else "",
            "hexagon" if node.op == OP else "cpu",
            f"compiled for {made.soc}" if node.op == OP else "the compiler left it on the CPU",
        )
        for node in graph.nodes
    )
    left = tuple(one.node for one in placement if one.where == "cpu")
    return PlacementReport(placement, left, (f"the file came compiled for {made.soc}",))


def _refuse_floats(graph: Graph, path: Path) -> None:
    made = {index for node in graph.nodes for index in node.outputs} | set(graph.inputs)
    if graph.nodes and not any(graph.tensors[index].dtype in _INTEGERS for index in made):
        node = graph.nodes[0]
        raise ModelError(
            f"{path}: hexagon-litert takes quantized models; node 0 ({node.op}) and all others "
            "are float: quantize it, e.g. with recipe static_wi8_ai8"
        )
    for index in graph.inputs:
        if -1 in graph.tensors[index].signature[1:]:
            raise ModelError(
                f"{path}: hexagon-litert takes static shapes; input "
                f"{graph.tensors[index].name!r} is declared {list(graph.tensors[index].signature)}"
            )


def _zeros(graph: Graph) -> tuple[npt.NDArray[Any], ...]:
    return tuple(
        np.zeros(graph.tensors[index].shape, graph.tensors[index].dtype) for index in graph.inputs
    )
