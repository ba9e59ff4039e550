"""Reads what the Edge TPU compiler made: which part became `edgetpu-custom-op`, and what remains.

The custom op's payload is not documented; of it only the size is told. What went in is known where
the file before compiling is at hand: its ops less those that remain.
"""

from collections import Counter

from harness.emulator.graph import Graph, Node
from harness.placement import Placement, PlacementReport, Where

CUSTOM_OP = "edgetpu-custom-op"


def compiled_report(graph: Graph) -> PlacementReport:
    """Where the ops of a compiled file run: the custom op on the accelerator, the rest not."""
    placement = tuple(_placed(graph, node) for node in graph.nodes)
    left = tuple(one.node for one in placement if one.where == "cpu")
    parts = sum(node.op == CUSTOM_OP for node in graph.nodes)
    note = f"compiled for the Edge TPU: {parts} accelerated part(s), {len(left)} ops on the CPU"
    return PlacementReport(placement, left, (note,))


def left_on_cpu(graph: Graph) -> Counter[str]:
    """The ops of a compiled file that remain outside the accelerator, by name."""
    return Counter(node.op for node in graph.nodes if node.op != CUSTOM_OP)


def mapped_ops(source: Graph, compiled: Graph) -> Counter[str]:
    """The ops that went into the accelerator, by name: those of the source that do not remain."""
    before = Counter(node.op for node in source.nodes)
    before.subtract(left_on_cpu(compiled))
    return Counter({op: count for op, count in before.items() if count > 0})


def _placed(graph: Graph, node: Node) -> Placement:
    output = graph.tensors[node.outputs[0]].name if node.outputs else ""
    if node.op == CUSTOM_OP:
        why, where = "compiled into the accelerator's own format", "edge-tpu"
    else:
        why, where = "the compiler left it on the CPU", "cpu"
    place: Where = "edge-tpu" if where == "edge-tpu" else "cpu"
    return Placement(node.index, node.op, output, place, why)
