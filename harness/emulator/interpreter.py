"""Runs a graph under a profile, node by node, and keeps account of what it may promise."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence, Signature
from harness.emulator import ops as _ops  # noqa: F401  importing it fills the table of definitions
from harness.emulator.definitions import (
    ACCUMULATORS,
    DEFINITIONS,
    Call,
    CannotRun,
    NoDefinition,
    Run,
)
from harness.emulator.graph import Array, Graph, Node, Tensor
from harness.emulator.tflite import stored_dtype
from harness.errors import ModelError
from harness.records import Promise
from harness.target import Progress, no_progress

_ORDER: tuple[Promise, ...] = ("exact", "assumed", "float", "unknown")
_IMPOSSIBLE = (CannotRun, ValueError, IndexError, ZeroDivisionError, OverflowError, MemoryError)
"""What a definition raises on a graph that contradicts itself; the file is at fault."""

FLOAT = "float"
"""Semantics of ops in float arithmetic: they run, and promise nothing bit for bit."""


@dataclass(frozen=True)
class Undefined:
    """A node that the emulator has no definition for.

    Attributes:
        node: its index.
        op: its operator.
        tensor: name of its first output.
        reason: what is missing.
    """

    node: int
    op: str
    tensor: str
    reason: str


@dataclass(frozen=True, eq=False)
class Emulation:
    """What a graph gave.

    Attributes:
        outputs: in the graph's order, the first axis as the inputs'; None where unknown.
        tensors: every computed tensor and graph input by index, when all were asked for.
        promises: by tensor index, for every computed tensor and graph input.
        unknown: the nodes without a definition, in execution order.
        elapsed_ns: time spent in nodes.
    """

    outputs: tuple[Array | None, ...]
    tensors: dict[int, Array] = field(default_factory=dict)
    promises: dict[int, Promise] = field(default_factory=dict)
    unknown: tuple[Undefined, ...] = ()
    elapsed_ns: int = 0


def emulate(
    graph: Graph,
    profile: ArithmeticProfile,
    inputs: Sequence[Array],
    *,
    all_tensors: bool = False,
    progress: Progress = no_progress,
) -> Emulation:
    """Run a graph on samples.

    Args:
        graph: what to run.
        profile: whose arithmetic.
        inputs: in the graph's input order; the first axis may hold any multiple of the file's batch
            and is run in steps of that batch. Inputs of rank 0 are stacked.
        all_tensors: keep every computed tensor, not the outputs only.
        progress: told after each step.

    Raises:
        ModelError: an input does not fit the graph, or the graph contradicts itself.
    """
    steps = _steps(graph, inputs)
    session = _Session(graph, profile, keep_all=all_tensors)
    count = len(steps)
    for done, step in enumerate(steps):
        progress("emulate", done, count)
        session.step(step)
    progress("emulate", count, count)
    return session.result()


def accumulator_at(
    graph: Graph,
    profile: ArithmeticProfile,
    values: dict[int, Array],
    node_index: int,
    element_index: tuple[int, ...],
) -> int | None:
    """The int32 accumulator behind one output element of a node.

    Args:
        graph: the graph.
        profile: whose arithmetic.
        values: the node's computed inputs by tensor index (of `Emulation.tensors`).
        node_index: which node.
        element_index: of its first output.

    Returns:
        None when the node does not accumulate, or an input is not in `values`.
    """
    node = graph.nodes[node_index]
    arrays = _node_values(graph, node, values)
    if arrays is None or node.op not in ACCUMULATORS:
        return None
    call, entry = _call(graph, node, arrays, profile)
    if entry is None:
        return None
    try:
        accumulators = ACCUMULATORS[node.op](call)(arrays)
    except NoDefinition:
        return None
    except _IMPOSSIBLE as error:
        raise ModelError(f"{_where(graph, node)}: {error}") from error
    return int(accumulators[element_index])


class _Session:
    """One run over all steps: bound nodes, promises, collected results."""

    def __init__(self, graph: Graph, profile: ArithmeticProfile, *, keep_all: bool) -> None:
        self._graph = graph
        self._profile = profile
        self._keep = set(graph.outputs)
        if keep_all:
            self._keep |= set(graph.inputs) | {o for node in graph.nodes for o in node.outputs}
        self._last_use = {i: node.index for node in graph.nodes for i in node.inputs}
        self._bound: dict[int, tuple[tuple[tuple[int, ...], ...], Run]] = {}
        self._collected: dict[int, list[Array]] = {}
        self._promises: dict[int, Promise] = dict.fromkeys(graph.inputs, "exact")
        self._unknown: dict[int, Undefined] = {}
        self._elapsed_ns = 0

    def step(self, inputs: Sequence[Array]) -> None:
        """Run every node once and keep what was asked for."""
        values: dict[int, Array] = dict(zip(self._graph.inputs, inputs, strict=True))
        started = time.perf_counter_ns()
        for node in self._graph.nodes:
            self._run(node, values)
            for used in node.inputs:
                if self._last_use[used] == node.index and used not in self._keep:
                    values.pop(used, None)
        self._elapsed_ns += time.perf_counter_ns() - started
        for index in self._keep & values.keys():
            self._collected.setdefault(index, []).append(values[index])

    def _run(self, node: Node, values: dict[int, Array]) -> None:
        arrays = _node_values(self._graph, node, values)
        if arrays is None:
            for output in node.outputs:
                self._promises[output] = "unknown"
            self._note_missing_constant(node)
            return
        try:
            with np.errstate(all="ignore"):
                run = self._bind(node, arrays)
                results = run(arrays) if run else ()
        except NoDefinition as reason:
            self._undefined(node, str(reason))
            return
        except _IMPOSSIBLE as error:
            raise ModelError(f"{_where(self._graph, node)}: {error}") from error
        values.update(zip(node.outputs, results, strict=False))

    def _bind(self, node: Node, arrays: Sequence[Array | None]) -> Run | None:
        """The node's function for these shapes; None, once noted, when there is none."""
        shapes = tuple(() if a is None else a.shape for a in arrays)
        bound = self._bound.get(node.index)
        if bound is not None and bound[0] == shapes:
            return bound[1]
        call, entry = _call(self._graph, node, arrays, self._profile)
        if entry is None:
            raise NoDefinition(f"profile {self._profile.name} has no entry for it")
        definition = DEFINITIONS.get((node.op, entry.semantics))
        if definition is None:
            raise NoDefinition(f"semantics {entry.semantics!r} is not defined for it")
        run = definition(call)
        self._bound[node.index] = (shapes, run)
        self._promise(node, entry)
        return run

    def _promise(self, node: Node, entry: Entry) -> None:
        own: Promise = "assumed" if entry.evidence is Evidence.ASSUMED else "exact"
        if entry.semantics == FLOAT:
            own = "float"
        before = (self._promises.get(i, "exact") for i in node.inputs)
        weakest = max((own, *before), key=_ORDER.index)
        for output in node.outputs:
            self._promises[output] = weakest

    def _undefined(self, node: Node, reason: str) -> None:
        for output in node.outputs:
            self._promises[output] = "unknown"
        name = self._graph.tensors[node.outputs[0]].name if node.outputs else ""
        self._unknown.setdefault(node.index, Undefined(node.index, node.op, name, reason))

    def _note_missing_constant(self, node: Node) -> None:
        """An input that nobody computes and that has no readable value: say so at its user."""
        made = {o for n in self._graph.nodes for o in n.outputs} | set(self._graph.inputs)
        for index in node.inputs:
            if index >= 0 and index not in made and self._graph.tensors[index].data is None:
                tensor = self._graph.tensors[index]
                reason = f"input {index} ({tensor.name!r}, {tensor.dtype}) has no value"
                self._undefined(node, reason)

    def result(self) -> Emulation:
        """Steps joined along the first axis."""
        joined = {
            index: np.stack(parts) if parts[0].ndim == 0 else np.concatenate(parts)
            for index, parts in self._collected.items()
        }
        constants = {i: t.data for i, t in enumerate(self._graph.tensors) if t.data is not None}
        outputs = tuple(joined.get(i, constants.get(i)) for i in self._graph.outputs)
        return Emulation(
            outputs,
            joined,
            self._promises,
            tuple(self._unknown[i] for i in sorted(self._unknown)),
            self._elapsed_ns,
        )


def _where(graph: Graph, node: Node) -> str:
    name = graph.tensors[node.outputs[0]].name if node.outputs else ""
    return f"graph {graph.name!r}: node {node.index} ({node.op}, {name!r})"


def _node_values(
    graph: Graph, node: Node, values: dict[int, Array]
) -> tuple[Array | None, ...] | None:
    """The node's input values, constants included; None when one is not there."""
    arrays: list[Array | None] = []
    for index in node.inputs:
        value = None if index < 0 else values.get(index, graph.tensors[index].data)
        if value is None and index >= 0:
            return None
        arrays.append(value)
    return tuple(arrays)


def _call(
    graph: Graph, node: Node, arrays: Sequence[Array | None], profile: ArithmeticProfile
) -> tuple[Call, Entry | None]:
    """What a definition is bound to, and the profile's entry for it."""
    inputs = tuple(
        None if array is None else replace(graph.tensors[index], shape=array.shape)
        for index, array in zip(node.inputs, arrays, strict=True)
    )
    outputs = tuple(graph.tensors[i] for i in node.outputs)
    entry = profile.lookup(signature(node, inputs, outputs))
    return Call(node, inputs, outputs, entry.semantics if entry else ""), entry


def signature(node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Signature:
    """What a profile chooses a node's semantics by."""
    tensors = (*inputs, *outputs[:1])
    quantizations = [None if t is None else t.quantization for t in tensors]
    weights = quantizations[1] if len(inputs) > 1 else None
    return Signature(
        op=node.op,
        dtypes=tuple("" if t is None else t.dtype for t in inputs),
        output=outputs[0].dtype if outputs else "",
        per_channel=weights is not None and len(weights.scales) > 1,
        shapes=tuple(() if t is None else t.shape for t in inputs),
        output_shape=outputs[0].shape if outputs else (),
        options=node.options,
        constant=tuple(t is not None and t.data is not None for t in inputs),
        scales=tuple(() if q is None else tuple(q.scales.tolist()) for q in quantizations),
        zero_points=tuple(
            () if q is None else tuple(q.zero_points.tolist()) for q in quantizations
        ),
    )


def _steps(graph: Graph, inputs: Sequence[Array]) -> list[list[Array]]:
    """The inputs cut into steps of the file's batch, checked against the graph."""
    if len(inputs) != len(graph.inputs):
        names = ", ".join(graph.tensors[i].name for i in graph.inputs)
        raise ModelError(f"got {len(inputs)} inputs, the graph takes {len(graph.inputs)}: {names}")
    cut = [
        _cut(graph.tensors[index], np.asarray(array), position)
        for position, (index, array) in enumerate(zip(graph.inputs, inputs, strict=True))
    ]
    counts = {len(parts) for parts in cut}
    if len(counts) > 1:
        raise ModelError(
            f"the inputs hold different numbers of batches: {[len(parts) for parts in cut]}"
        )
    return [list(step) for step in zip(*cut, strict=True)] if cut else [[]]


def _cut(tensor: Tensor, array: Array, position: int) -> list[Array]:
    where = f"input {position} ({tensor.name!r})"
    stored = stored_dtype(tensor.dtype)
    if stored is None or array.dtype != stored:
        raise ModelError(f"{where}: got dtype {array.dtype}, allowed: {tensor.dtype}")
    if not tensor.shape:
        return [np.asarray(x) for x in (array if array.ndim == 1 else [array])]
    batch = tensor.shape[0]
    fits = array.ndim == len(tensor.shape) and array.shape[1:] == tensor.shape[1:]
    if not fits or not batch or not len(array) or len(array) % batch:
        allowed = ", ".join(str(d) for d in tensor.shape[1:])
        raise ModelError(
            f"{where}: got shape {list(array.shape)}, allowed: [n * {batch}, {allowed}]"
        )
    return [array[i : i + batch] for i in range(0, len(array), batch)]
