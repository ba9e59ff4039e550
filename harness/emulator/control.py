"""Control flow and variables: nodes that call other graphs of the model or keep values between
runs. Nothing here computes; every runtime agrees on it.

Untrusted files may call in circles or loop for ever: calls nest to a limit, and a run may spend a
limited number of nodes in called graphs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from harness.emulator.definitions import CannotRun, NoDefinition
from harness.emulator.formats.tflite import stored_dtype
from harness.emulator.graph import Array, Graph, Node
from harness.emulator.shapes import resized
from harness.records import Promise

MAX_DEPTH = 16
MAX_CALLED_NODES = 1 << 16
NODES_PER_BINDING = 8
"""What binding a node to new shapes counts as: it takes about as long as running that many."""
MAX_VARIABLES = 4096
MAX_FORESEEN = 64
"""Graphs that never ran and are looked through for what they may promise."""
_MOST_CALLEES = 64

CONTROL_OPS = (
    "IF",
    "WHILE",
    "CALL_ONCE",
    "STABLEHLO_COMPOSITE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
)

STATE_OPS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
"""Those that set and read variables."""

_CALLED = (
    "then_subgraph_index",
    "else_subgraph_index",
    "cond_subgraph_index",
    "body_subgraph_index",
    "decomposition_subgraph_index",
)

PROMISES: tuple[Promise, ...] = ("exact", "assumed", "float", "unknown")
"""From the strongest to the weakest."""


def weakest_of(promises: Iterable[Promise]) -> Promise:
    """The weakest; "exact" of none."""
    return max(promises, key=PROMISES.index, default="exact")


def called_graphs(node: Node) -> tuple[int, ...]:
    """The graphs that a control node may call for its outputs."""
    return tuple(int(node.options[name]) for name in _CALLED if name in node.options)


class Callee(Protocol):
    """A graph bound to a profile, which the session calls."""

    def call(self, inputs: Sequence[Array]) -> tuple[list[Array | None], Promise, str]:
        """One step, each array with an axis of one step before: the outputs, None where unknown;
        the weakest promise inside; why an output is unknown."""


@dataclass
class Session:
    """What the graphs of a model share while they run.

    Attributes:
        graphs: the model's, by index; empty where a graph stands alone.
        make: binds a graph to the profile and this session.
        foresee: what a graph may promise that was not run.
        variables: values by handle, with the promise of what was assigned.
    """

    graphs: tuple[Graph, ...]
    make: Callable[[Graph], Callee]
    foresee: Callable[[Graph], Promise]
    variables: dict[int, tuple[Array, Promise]] = field(default_factory=dict)
    _handles: dict[tuple[str, str], int] = field(default_factory=dict)
    _callees: dict[tuple[int, tuple[tuple[int, ...], ...]], Callee] = field(default_factory=dict)
    _done_once: set[int] = field(default_factory=set)
    _kept: dict[int, Promise] = field(default_factory=dict)
    _foreseen: dict[int, Promise] = field(default_factory=dict)
    _depth: int = 0
    _spent: int = 0

    def begin(self) -> None:
        """Before each invocation of the main graph."""
        self._spent = 0

    def call(self, index: int, inputs: Sequence[Array]) -> tuple[list[Array], Promise]:
        """Run a graph of the model on values of one step, without an axis of steps.

        Raises:
            CannotRun: there is no such graph, its inputs differ, or a limit is reached.
            NoDefinition: an output is unknown.
        """
        graph = self._graph(index, inputs)
        self._spend(1 + len(graph.nodes))
        if self._depth == MAX_DEPTH:
            raise CannotRun(f"calls nest deeper than {MAX_DEPTH}")
        self._depth += 1
        try:
            outputs, promise, reason = self._callee(index, graph, inputs).call(
                [x[np.newaxis] for x in inputs]
            )
        finally:
            self._depth -= 1
        if any(y is None for y in outputs):
            raise NoDefinition(f"in graph {graph.name!r}: {reason}")
        self._kept[index] = weakest_of([promise, self._kept.get(index, "exact")])
        return [np.asarray(y)[0] for y in outputs], promise

    def _spend(self, nodes: int) -> None:
        self._spent += nodes
        if self._spent > MAX_CALLED_NODES:
            raise CannotRun(
                f"called graphs run more than {MAX_CALLED_NODES} nodes, one at new shapes counted "
                f"as {NODES_PER_BINDING}"
            )

    def _graph(self, index: int, inputs: Sequence[Array]) -> Graph:
        if not 0 <= index < len(self.graphs):
            raise CannotRun(f"calls graph {index}, there are {len(self.graphs)}")
        graph = self.graphs[index]
        if len(inputs) != len(graph.inputs):
            raise CannotRun(
                f"calls graph {graph.name!r} with {len(inputs)} inputs, it takes "
                f"{len(graph.inputs)}"
            )
        for position, x in zip(graph.inputs, inputs, strict=True):
            dtype = stored_dtype(graph.tensors[position].dtype)
            if dtype is not None and x.dtype != dtype:
                raise CannotRun(f"calls graph {graph.name!r} with {x.dtype}, it takes {dtype}")
        return graph

    def _callee(self, index: int, graph: Graph, inputs: Sequence[Array]) -> Callee:
        shapes = tuple(x.shape for x in inputs)
        key = (index, shapes)
        if key not in self._callees:
            self._spend((NODES_PER_BINDING - 1) * (1 + len(graph.nodes)))
            if len(self._callees) == _MOST_CALLEES:
                self._callees.clear()
            fitted = resized(graph, dict(zip(graph.inputs, shapes, strict=True)))
            self._callees[key] = self.make(fitted)
        return self._callees[key]

    def run(
        self, node: Node, values: Sequence[Array | None], promise: Promise
    ) -> tuple[list[Array], Promise]:
        """A control node on values of one step: its outputs, and the weakest promise on the way.

        Args:
            node: one of `CONTROL_OPS`.
            values: its inputs.
            promise: the weakest of them.
        """
        given = [x for x in values if x is not None]
        if node.op == "ASSIGN_VARIABLE":
            return self._assign(given, promise)
        outputs, inside = _RUNS[node.op](self, node.options, given)
        return outputs, weakest_of([promise, inside, self.promise_of_called(node)])

    def promise_of_called(self, node: Node) -> Promise:
        """The weakest promise of all graphs that a node may call: as they ran; of one that never
        ran, what may be foreseen, where an op without an entry counts as assumed."""
        return weakest_of(self._promise_of_graph(index) for index in called_graphs(node))

    def _promise_of_graph(self, index: int) -> Promise:
        if index in self._kept or not 0 <= index < len(self.graphs):
            return self._kept.get(index, "exact")
        if index not in self._foreseen:
            if len(self._foreseen) == MAX_FORESEEN:
                return "assumed"
            self._foreseen[index] = "exact"  # while it is looked through: it may call itself
            promise = self.foresee(self.graphs[index])
            self._foreseen[index] = "assumed" if promise == "unknown" else promise
        return self._foreseen[index]

    def _assign(self, values: Sequence[Array], promise: Promise) -> "Result":
        """Source: LiteRT kernels/assign_variable.cc."""
        _require(values, 2)
        self.variables[int(values[0].reshape(-1)[0])] = (values[1].copy(), promise)
        return [], "exact"

    def call_once(self, options: Mapping[str, Any]) -> None:
        """Run an initialization graph the first time only."""
        index = int(options.get("init_subgraph_index", -1))
        if index not in self._done_once:
            self._done_once.add(index)
            self.call(index, [])

    def handle(self, options: Mapping[str, Any]) -> int:
        """The number of the variable of that name, the same for the same name."""
        name = (str(options.get("container")), str(options.get("shared_name")))
        if len(self._handles) >= MAX_VARIABLES:
            raise CannotRun(f"more than {MAX_VARIABLES} variables")
        return self._handles.setdefault(name, len(self._handles))


Result = tuple[list[Array], Promise]


def _if(session: Session, options: Mapping[str, Any], values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/if.cc."""
    _require(values, 1)
    branch = "then" if values[0].reshape(-1)[0] else "else"
    return session.call(int(options.get(f"{branch}_subgraph_index", -1)), values[1:])


def _while(session: Session, options: Mapping[str, Any], values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/while.cc."""
    state, promises = list(values), set[Promise]()
    while True:
        condition, promise = session.call(int(options.get("cond_subgraph_index", -1)), state)
        if len(condition) != 1 or condition[0].size != 1:
            raise CannotRun("its condition is not one element")
        promises.add(promise)
        if not condition[0].reshape(-1)[0]:
            return state, weakest_of(promises)
        state, promise = session.call(int(options.get("body_subgraph_index", -1)), state)
        promises.add(promise)


def _call_once(session: Session, options: Mapping[str, Any], _values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/call_once.cc."""
    session.call_once(options)
    return [], "exact"


def _composite(session: Session, options: Mapping[str, Any], values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/stablehlo_composite.cc."""
    return session.call(int(options.get("decomposition_subgraph_index", -1)), values)


def _handle(session: Session, options: Mapping[str, Any], _values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/var_handle.cc."""
    return [np.asarray(session.handle(options), np.int32)], "exact"


def _read(session: Session, _options: Mapping[str, Any], values: Sequence[Array]) -> Result:
    """Source: LiteRT kernels/read_variable.cc."""
    _require(values, 1)
    found = session.variables.get(int(values[0].reshape(-1)[0]))
    if found is None:
        raise CannotRun("reads a variable that nothing was assigned to")
    return [found[0]], found[1]


def _require(values: Sequence[Array], count: int) -> None:
    if len(values) < count or not values[0].size:
        raise CannotRun(f"has {len(values)} inputs, needs {count}")


_RUNS: dict[str, Callable[[Session, Mapping[str, Any], Sequence[Array]], Result]] = {
    "IF": _if,
    "WHILE": _while,
    "CALL_ONCE": _call_once,
    "STABLEHLO_COMPOSITE": _composite,
    "VAR_HANDLE": _handle,
    "READ_VARIABLE": _read,
}
