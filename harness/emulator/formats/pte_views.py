"""Tensors of an ExecuTorch program that no instruction writes, because they lie where another one
does: a reshape that costs nothing. The graph gets a node for each.

Source: executorch exir/passes/replace_view_copy_with_view_pass.py; exir/memory_planning.py.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from harness.emulator.graph import Graph, Node

Place = tuple[int, int]
"""A memory's number and where in it."""


def with_views(graph: Graph, places: Mapping[int, Place]) -> tuple[Graph, dict[int, int]]:
    """The graph with a node for each such tensor, and by such tensor the one it shows.

    Args:
        graph: as its instructions are.
        places: of the tensors that are planned.
    """
    tensors, views = graph.tensors, dict[int, int]()
    written = {*graph.inputs, *(t.index for t in tensors if t.data is not None)}
    last_at = {places[i]: i for i in graph.inputs if i in places}
    nodes: list[Node] = []

    def show(index: int) -> None:
        """Add the node that makes a tensor, if it is one that nothing writes."""
        if index < 0 or index in written or index not in places:
            return
        base = last_at.get(places[index])
        if base is None or tensors[base].dtype != tensors[index].dtype:
            return
        shape = tensors[index].shape
        if math.prod(shape) == math.prod(tensors[base].shape):
            options = {"new_shape": shape, "portable": True}
            nodes.append(Node(len(nodes), "RESHAPE", (base,), (index,), options))
            written.add(index)
            views[index] = base

    for node in graph.nodes:
        for index in node.inputs:
            show(index)
        nodes.append(replace(node, index=len(nodes)))
        written.update(node.outputs)
        last_at |= {places[i]: i for i in node.outputs if i in places}
    for index in graph.outputs:
        show(index)
    return replace(graph, nodes=tuple(nodes)), views
