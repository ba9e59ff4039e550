"""Nodes that follow each other and run as one call of the core, with no array of Python's between.

On small models the way from node to node takes longer than the arithmetic.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from harness.emulator.core.bindings import LayerRun
from harness.emulator.core.kernels import chain_layers
from harness.emulator.definitions import Run
from harness.emulator.graph import Array, Graph, Node

Shapes = Sequence[tuple[int, ...]]


class Chain:
    """Bound nodes, each of which takes only what the one before it gives.

    Attributes:
        length: how many nodes.
        takes, gives: the first node's input tensor and the last one's output tensor.
    """

    def __init__(self, nodes: Sequence[Node], runs: Sequence[LayerRun]) -> None:
        self.length = len(nodes)
        self.takes, self.gives = nodes[0].inputs[0], nodes[-1].outputs[0]
        self._shape = runs[-1].shape
        self._run = chain_layers([run.layer for run in runs])

    def run(self, x: Array, ns: Array) -> Array:
        """The last output for any number of steps; adds each node's time to `ns`, int64."""
        return self._run(x, (len(x), *self._shape), ns)


def find_chains(
    graph: Graph, bound: Mapping[int, tuple[Shapes, Run]], keep: Collection[int]
) -> dict[int, Chain]:
    """The longest chains of two and more nodes, by the position of their first.

    Args:
        graph: whose nodes, in the order of execution.
        bound: by node index, its function and the shapes of one step's inputs that it is for;
            nodes that are not there end a chain.
        keep: tensors that must have an array of their own.
    """
    uses = Counter(index for node in graph.nodes for index in node.inputs)
    chains, start = {}, 0
    while start < len(graph.nodes):
        end = start + 1
        while end < len(graph.nodes) and _follows(graph, bound, end, uses, keep):
            end += 1
        if end - start > 1:
            nodes = graph.nodes[start:end]
            runs = [bound[node.index][1] for node in nodes]
            chains[start] = Chain(nodes, [run for run in runs if isinstance(run, LayerRun)])
        start = end
    return chains


def _follows(
    graph: Graph,
    bound: Mapping[int, tuple[Shapes, Run]],
    position: int,
    uses: Counter[int],
    keep: Collection[int],
) -> bool:
    before, node = graph.nodes[position - 1 : position + 1]
    if before.index not in bound or node.index not in bound:
        return False
    first, second = bound[before.index][1], bound[node.index]
    between = before.outputs[0]
    return (
        isinstance(first, LayerRun)
        and isinstance(second[1], LayerRun)
        and node.inputs[0] == between
        and uses[between] == 1
        and between not in keep
        and math.prod(first.shape) == math.prod(second[0][0])
    )
