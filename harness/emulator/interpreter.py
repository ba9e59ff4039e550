"""Runs a graph under a profile, node by node, and keeps account of what it may promise."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence, Signature
from harness.emulator import core
from harness.emulator import ops as _ops  # noqa: F401  importing it fills the table of definitions
from harness.emulator.definitions import (
    ACCUMULATORS,
    DEFINITIONS,
    OUTPUT_SHAPES,
    ROWWISE,
    Call,
    CannotRun,
    NoDefinition,
    Run,
)
from harness.emulator.graph import Array, Graph, Node, Tensor
from harness.emulator.steps import Ragged, each_step, join_steps, stack_inputs, steps_at_once
from harness.errors import ModelError
from harness.records import Promise
from harness.target import Progress, no_progress

if TYPE_CHECKING:
    from harness.emulator.core.chains import Chain

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
        node_ns: time spent in each node, in the graph's order, binding included.
    """

    outputs: tuple[Array | None, ...]
    tensors: dict[int, Array] = field(default_factory=dict)
    promises: dict[int, Promise] = field(default_factory=dict)
    unknown: tuple[Undefined, ...] = ()
    node_ns: tuple[int, ...] = ()

    @property
    def elapsed_ns(self) -> int:
        """Time spent in all nodes."""
        return sum(self.node_ns)


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
        progress: told after every few steps.

    Raises:
        ModelError: an input does not fit the graph, or the graph contradicts itself.
    """
    return Emulator(graph, profile).run(inputs, all_tensors=all_tensors, progress=progress)


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


class Emulator:
    """A graph under a profile: its constants are prepared once, then it runs any number of times.

    Args:
        graph: what to run.
        profile: whose arithmetic.
    """

    def __init__(self, graph: Graph, profile: ArithmeticProfile) -> None:
        self._graph = graph
        self._profile = profile
        self._bind_core = core.binder()
        self._at_once = steps_at_once(graph)
        last_use = {i: node.index for node in graph.nodes for i in node.inputs}
        self._done_with = [
            [i for i in set(node.inputs) if last_use[i] == node.index] for node in graph.nodes
        ]
        self._bound: dict[int, tuple[list[tuple[int, ...]], Run]] = {}
        self._promises: dict[int, Promise] = dict.fromkeys(graph.inputs, "exact")
        self._unknown: dict[int, Undefined] = {}
        self._node_ns = np.zeros(len(graph.nodes), np.int64)
        self._chains: tuple[set[int], dict[int, Chain]] | None = None

    def run(
        self,
        inputs: Sequence[Array],
        *,
        all_tensors: bool = False,
        progress: Progress = no_progress,
    ) -> Emulation:
        """As `emulate`."""
        count, stacked = stack_inputs(self._graph, inputs)
        at_once = self._at_once
        keep = set(self._graph.outputs)
        if all_tensors:
            keep |= {*self._graph.inputs, *(o for n in self._graph.nodes for o in n.outputs)}
        collected: dict[int, list[Array]] = {}
        self._node_ns = np.zeros(len(self._graph.nodes), np.int64)
        for done in range(0, count, at_once):
            progress("emulate", done, count)
            batches = self._advance([array[done : done + at_once] for array in stacked], keep)
            for values in batches:
                for index in keep & values.keys():
                    collected.setdefault(index, []).append(values[index])
        progress("emulate", count, count)
        return self._result(collected)

    def _advance(self, inputs: Sequence[Array], keep: set[int]) -> list[dict[int, Array]]:
        """The next steps, which the inputs' first axis counts: the values to keep of each batch."""
        with np.errstate(all="ignore"):
            try:
                return [self._run_all(inputs, keep)]
            except Ragged:
                single = range(len(inputs[0]))
                return [self._run_all([x[i : i + 1] for x in inputs], keep) for i in single]

    def _run_all(self, inputs: Sequence[Array], keep: set[int]) -> dict[int, Array]:
        values: dict[int, Array] = dict(zip(self._graph.inputs, inputs, strict=True))
        count = len(inputs[0]) if inputs else 1
        chains = self._find_chains(keep)
        position = 0
        while position < len(self._graph.nodes):
            end = position + self._run_chain(chains.get(position), position, values)
            if end == position:
                end, node = position + 1, self._graph.nodes[position]
                started = time.perf_counter_ns()
                self._run(node, values, count)
                self._node_ns[position] += time.perf_counter_ns() - started
            for done_with in self._done_with[position:end]:
                for used in done_with:
                    if used not in keep:
                        values.pop(used, None)
            position = end
        return values

    def _find_chains(self, keep: set[int]) -> dict[int, "Chain"]:
        """Chains among the nodes bound so far; found once for what is to be kept."""
        if self._chains is None or self._chains[0] != keep:
            self._chains = (keep, core.join_nodes(self._graph, self._bound, keep))
        return self._chains[1]

    def _run_chain(self, chain: "Chain | None", position: int, values: dict[int, Array]) -> int:
        """Run the chain if it fits the values; how many nodes that were."""
        if chain is None or chain.takes not in values:
            return 0
        x, node = values[chain.takes], self._graph.nodes[position]
        if x.shape[1:] != self._bound[node.index][0][0]:
            return 0
        try:
            values[chain.gives] = chain.run(x, self._node_ns[position : position + chain.length])
        except MemoryError as error:
            raise ModelError(f"{_where(self._graph, node)}: {error}") from error
        return chain.length

    def _run(self, node: Node, values: dict[int, Array], count: int) -> None:
        arrays = _node_values(self._graph, node, values)
        if arrays is None:
            for output in node.outputs:
                self._promises[output] = "unknown"
            self._note_missing_constant(node)
            return
        computed = [index in values for index in node.inputs]
        try:
            results = self._bind(node, arrays, computed)(arrays)
        except NoDefinition as reason:
            self._undefined(node, str(reason))
            return
        except _IMPOSSIBLE as error:
            raise ModelError(f"{_where(self._graph, node)}: {error}") from error
        if not any(computed):  # constants alone: the same for every step
            results = tuple(np.broadcast_to(y, (count, *y.shape[1:])) for y in results)
        values.update(zip(node.outputs, results, strict=False))

    def _bind(self, node: Node, arrays: Sequence[Array | None], computed: Sequence[bool]) -> Run:
        """The node's function for inputs of these shapes, over any number of steps.

        Raises:
            NoDefinition: there is none.
        """
        shapes = [
            () if a is None else a.shape[1:] if has_steps else a.shape
            for a, has_steps in zip(arrays, computed, strict=True)
        ]
        bound = self._bound.get(node.index)
        if bound is not None and bound[0] == shapes:
            return bound[1]
        first = [
            a[0, ...] if a is not None and has_steps else a
            for a, has_steps in zip(arrays, computed, strict=True)
        ]
        call, entry = _call(self._graph, node, first, self._profile)
        if entry is None:
            raise NoDefinition(f"profile {self._profile.name} has no entry for it")
        definition = DEFINITIONS.get((node.op, entry.semantics))
        if definition is None:
            raise NoDefinition(f"semantics {entry.semantics!r} is not defined for it")
        if node.op in OUTPUT_SHAPES and OUTPUT_SHAPES[node.op](call) != call.output.shape:
            made = list(OUTPUT_SHAPES[node.op](call))
            raise CannotRun(f"makes shape {made}, the file says {list(call.output.shape)}")
        run = self._bind_core(call)
        if run is None:
            run = definition(call)
            if (node.op, entry.semantics) not in ROWWISE or not all(computed):
                run = each_step(run, computed)
        self._bound[node.index] = (shapes, run)
        self._chains = None
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

    def _result(self, collected: dict[int, list[Array]]) -> Emulation:
        joined = {index: join_steps(parts) for index, parts in collected.items()}
        tensors = self._graph.tensors
        return Emulation(
            tuple(joined.get(i, tensors[i].data) for i in self._graph.outputs),
            joined,
            dict(self._promises),
            tuple(self._unknown[i] for i in sorted(self._unknown)),
            tuple(self._node_ns.tolist()),
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


_IMAGE_FIRST = {"TRANSPOSE_CONV": (2, 1, 3, 0)}
"""Ops whose signature lists image, weights and bias first, as the others do; then the rest."""


def signature(node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Signature:
    """What a profile chooses a node's semantics by."""
    if node.op in _IMAGE_FIRST:
        inputs = [inputs[i] if i < len(inputs) else None for i in _IMAGE_FIRST[node.op]]
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
