"""Placement on LiteRT's CPU kernels: which ops the XNNPACK delegate takes, by the runtime's word.

The file is opened and prepared, not run. Isolated only: a broken file may crash the runtime.
"""

import re
from pathlib import Path

from harness.emulator.binding import signature
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph, Node
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.placement import Placement, PlacementReport, Where
from targets.runner.edgefarm_runner import LiteRt

_RULES = "litert-xnnpack-x86"  # the delegate's conditions are the same on every machine
_CONDITION = "delegated: "
_NO_VERSION = re.compile(r"builtin opcode '(?P<op>\w+)' version '(?P<version>\d+)'")
_NO_CUSTOM = re.compile(r"unresolved custom op: (?P<op>\S+?)\.?(\s|$)", re.IGNORECASE)


def check_litert(path: Path, _soc: str | None, _progress: Progress) -> PlacementReport:
    """Where LiteRT runs each op of a `.tflite` with its default kernels.

    Raises:
        ModelError: the file is broken, or the runtime refuses it for another reason than an op it
            does not have.
    """
    graph = read_tflite(path).main
    runtime = LiteRt()
    try:
        runtime.load(str(path), "xnnpack", 1)
    except (RuntimeError, ValueError) as error:
        return _refused(graph, str(error), path)
    taken = runtime.delegated_nodes()
    notes = () if taken is not None else ("the runtime does not tell what its delegate takes",)
    taken = set() if taken is None else taken
    placement = tuple(
        _placed(graph, node, "cpu", "XNNPACK" if node.index in taken else _why_not(graph, node))
        for node in graph.nodes
    )
    left = tuple(node.index for node in graph.nodes if node.index not in taken)
    return PlacementReport(placement, left, notes)


def _refused(graph: Graph, message: str, path: Path) -> PlacementReport:
    """The report of a file with an op that the runtime does not have."""
    version, custom = _NO_VERSION.search(message), _NO_CUSTOM.search(message)
    if version is not None:
        wanted, number = version["op"], int(version["version"])
        why = f"LiteRT has no version {number} of {wanted}; convert with an older converter"
        missing = {n.index for n in graph.nodes if (n.op, n.version) == (wanted, number)}
    elif custom is not None:
        why = "LiteRT has no such operator; it needs the delegate or the custom op it was made for"
        missing = {n.index for n in graph.nodes if n.op == custom["op"]}
    else:
        missing = set()
    if not missing:
        raise ModelError(f"{path}: LiteRT refuses it: {' '.join(message.split())[:500]}")
    placement = tuple(
        _placed(graph, node, "none", why)
        if node.index in missing
        else _placed(graph, node, "cpu", "LiteRT; which kernels is not known")
        for node in graph.nodes
    )
    return PlacementReport(placement, tuple(sorted(missing)))


def _why_not(graph: Graph, node: Node) -> str:
    """Why the delegate leaves a node to the built-in kernels."""
    inputs = [None if index < 0 else graph.tensors[index] for index in node.inputs]
    found = signature(node, inputs, [graph.tensors[index] for index in node.outputs])
    dtype = found.dtypes[0] if found.dtypes else ""
    conditions = [
        entry.condition.removeprefix(_CONDITION)
        for entry in get_profile(_RULES).entries
        if node.op in entry.ops and dtype in entry.dtypes and entry.condition.startswith(_CONDITION)
    ]
    if not conditions:
        return f"built-in kernel: XNNPACK's delegate does not take {node.op} of {dtype or 'this'}"
    return f"built-in kernel: XNNPACK's delegate wants {' or '.join(dict.fromkeys(conditions))}"


def _placed(graph: Graph, node: Node, where: Where, why: str) -> Placement:
    output = graph.tensors[node.outputs[0]].name if node.outputs else ""
    return Placement(node.index, node.op, output, where, why)
