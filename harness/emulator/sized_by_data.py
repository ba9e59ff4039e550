"""Nodes whose outputs have other sizes for other data: what they make cannot be joined over
invocations, and no manifest can say how large it is."""

from collections.abc import Mapping

from harness.emulator.graph import Graph, Node

_BY_VALUES: Mapping[str, tuple[int, ...]] = {
    "WHERE": (0,),
    "UNIQUE": (0,),
    "RANGE": (0, 1, 2),
    "FILL": (0,),
    "RESHAPE": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "MIRROR_PAD": (1,),
    "TILE": (1,),
    "BROADCAST_TO": (1,),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "ONE_HOT": (1,),
    "BATCH_TO_SPACE_ND": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
}
"""Inputs whose values say how large the output is."""
_OF_SIZES = ("SHAPE", "RANK")


def sized_by_data(graph: Graph) -> Node | None:
    """The first node that makes an output as large as its data says; None where none does.

    Sizes that are computed from constants, or from the sizes of other tensors, are no such.
    """
    found = _unsized(graph, _OF_SIZES)
    return None if found is None else found[0]


def computed_size(graph: Graph) -> tuple[Node, int] | None:
    """The first node whose output's size is no constant of the file, nor made of constants, and
    which of its inputs says the size; None where all are."""
    return _unsized(graph, ())


def _unsized(graph: Graph, of_sizes: tuple[str, ...]) -> tuple[Node, int] | None:
    known = {tensor.index for tensor in graph.tensors if tensor.data is not None}
    for node in graph.nodes:
        inputs = [index for index in node.inputs if index >= 0]
        if node.op in of_sizes or (inputs and known.issuperset(inputs)):
            known.update(node.outputs)
            continue
        for position in _BY_VALUES.get(node.op, ()):
            if position < len(node.inputs) and node.inputs[position] not in {-1, *known}:
                return node, position
    return None


def explain(graph: Graph) -> str:
    """Which node makes sizes that depend on the data, and what to do; "" where none does."""
    node = sized_by_data(graph)
    if node is None:
        return ""
    name = graph.tensors[node.outputs[0]].name
    return (
        f"how large the output {name!r} of {node.op} (node {node.index}) is depends on the data, "
        "so that invocations cannot be joined and compared; cut the model before it, or give it "
        "a constant size"
    )
