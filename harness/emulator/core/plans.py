"""Nodes that follow each other and run as one call of the core, with no array of Python's between.

On small models the way from node to node takes longer than the arithmetic; on large ones the
tensors between nodes stay in the caches, because each thread takes a few steps through all nodes.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.emulator.core import Undefined, _core, threads
from harness.emulator.core.nodes import NodeRun
from harness.emulator.definitions import Run
from harness.emulator.graph import Array, Graph, Node

Shapes = Sequence[tuple[int, ...]]
Bound = Mapping[int, tuple[Shapes, Run]]

_SAME_BYTES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


class Plan:
    """Bound nodes that run together.

    Attributes:
        length: how many nodes, from the first on.
        takes: of each tensor that it needs, the index and the shape of one step.
        step_bytes: of the tensors of one step that it takes and gives.
    """

    def __init__(self, links: "_Links", length: int, gives: Sequence[int]) -> None:
        self.length = length
        self.takes = [(index, links.shapes[index]) for index in links.takes]
        self._gives = [(index, links.shapes[index], links.dtypes[index]) for index in gives]
        held = [links.sizes[links.slots[index]] for index in (*links.takes, *gives)]
        self.step_bytes = sum(held)
        self._positions = links.positions
        self._workers = threads()
        self._run = _core.Plan(
            links.links,
            links.sizes,
            [links.slots[index] for index in links.takes],
            [links.slots[index] for index in gives],
        )

    def run(self, inputs: Sequence[Array], ns: Array) -> dict[int, Array]:
        """The tensors that are wanted, by index, for any number of steps.

        Args:
            inputs: as `takes`, each with an axis for the steps.
            ns: int64, one for each node; the time it took is added.

        Raises:
            Undefined: some value has no definition.
        """
        steps = len(inputs[0])
        made = {i: np.empty((steps, *shape), dtype) for i, shape, dtype in self._gives}
        taken = np.zeros(len(self._positions), np.int64)
        arrays = [*map(np.ascontiguousarray, inputs)]
        try:
            self._run(arrays, [*made.values()], self._workers, taken)
        except _core.Undefined:
            raise Undefined from None
        ns[self._positions] += taken
        return made


def find_plans(graph: Graph, bound: Bound, keep: Collection[int]) -> dict[int, Plan]:
    """The longest plans of two and more nodes, by the position of their first.

    Args:
        graph: whose nodes, in the order of execution.
        bound: by node index, its function and the shapes of one step's inputs that it is for;
            nodes that are not there end a plan.
        keep: tensors that must have an array of their own.
    """
    last_use = {i: position for position, node in enumerate(graph.nodes) for i in node.inputs}
    plans, start = {}, 0
    while start < len(graph.nodes):
        links, end = _Links(), start
        while end < len(graph.nodes) and links.add(graph, start, end, bound):
            end += 1
        if len(links.links) > 1:
            gives = [i for i in links.made if i in keep or last_use.get(i, -1) >= end]
            if gives and not links.shares_a_slot(gives):
                plans[start] = Plan(links, end - start, gives)
        start = max(end, start + 1)
    return plans


@dataclass
class _Links:
    """A plan as far as it has come; `slots` says where each tensor lies.

    Tensors that are the same bytes in another shape share a slot.
    """

    links: list[tuple[tuple[_core.Kernel, ...], list[int], int]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    takes: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[int, str] = field(default_factory=dict)

    def add(self, graph: Graph, start: int, position: int, bound: Bound) -> bool:
        """Add a node to a plan that starts at another, if the core runs it and it fits."""
        node = graph.nodes[position]
        if node.index not in bound:
            return False
        shapes, run = bound[node.index]
        if node.op in _SAME_BYTES:
            return self._add_shape(node, graph.tensors[node.outputs[0]].shape)
        if not isinstance(run, NodeRun):
            return False
        inputs = node.inputs[: run.arity]
        for index, shape in zip(inputs, shapes, strict=False):
            size = _bytes(shape, run.kernel.input_dtype)
            if index not in self.slots:
                self.takes.append(index)
                self._hold(index, shape, run.kernel.input_dtype)
            elif self.sizes[self.slots[index]] != size:
                return False
        output, dtype = node.outputs[0], run.kernel.dtype
        taken = [self.slots[index] for index in inputs]
        self._hold(output, run.shape, dtype)
        self.made.append(output)
        self.links.append((run.kernel.kernels, taken, self.slots[output]))
        self.positions.append(position - start)
        return True

    def _add_shape(self, node: Node, shape: tuple[int, ...]) -> bool:
        """The same bytes in another shape: only of a tensor that the plan makes itself."""
        x, output = node.inputs[0], node.outputs[0]
        if x not in self.made or _bytes(shape, self.dtypes[x]) != self.sizes[self.slots[x]]:
            return False
        self.slots[output], self.shapes[output] = self.slots[x], shape
        self.dtypes[output] = self.dtypes[x]
        self.made.append(output)
        return True

    def _hold(self, index: int, shape: tuple[int, ...], dtype: str) -> None:
        self.slots[index], self.shapes[index] = len(self.sizes), shape
        self.dtypes[index] = dtype
        self.sizes.append(_bytes(shape, dtype))

    def shares_a_slot(self, tensors: Sequence[int]) -> bool:
        """Whether two of the tensors are the same bytes."""
        return len({self.slots[index] for index in tensors}) < len(tensors)
