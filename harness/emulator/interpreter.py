"""Runs a graph under a profile, node by node, and keeps account of what it may promise."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile, Entry
from harness.emulator import core
from harness.emulator import ops as _ops  # noqa: F401  importing it fills the table of definitions
from harness.emulator.binding import bound_key, first_step, make_call, node_values, where
from harness.emulator.control import CONTROL_OPS, Session, weakest_of
from harness.emulator.definitions import (
    ACCUMULATORS,
    BY_VALUE,
    DEFINITIONS,
    ROWWISE,
    CannotRun,
    NoDefinition,
    Run,
)
from harness.emulator.foreseen import IMPOSSIBLE, foresee, promise_of
from harness.emulator.formats.tflite import MAX_COMPUTED_BYTES, stored_dtype
from harness.emulator.graph import Array, Graph, Node
from harness.emulator.shapes import fit
from harness.emulator.steps import (
    Ragged,
    each_step,
    initial_state,
    join_steps,
    stack_inputs,
    steps_at_once,
)
from harness.errors import ModelError
from harness.host.progress import Progress, no_progress
from harness.records import Promise

if TYPE_CHECKING:
    from harness.emulator.core.plans import Plan


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
    arrays = node_values(graph, node, values)
    if arrays is None or node.op not in ACCUMULATORS:
        return None
    call, entry = make_call(replace(graph, resized=True), node, arrays, profile)
    if entry is None:
        return None
    try:
        accumulators = ACCUMULATORS[node.op](call)(arrays)
    except NoDefinition:
        return None
    except IMPOSSIBLE as error:
        raise ModelError(f"{where(graph, node)}: {error}") from error
    return int(accumulators[element_index])


class Emulator:
    """A graph under a profile: its constants are prepared once, then it runs any number of times.

    Variables keep their values from one run to the next, as in a runtime.

    Args:
        graph: what to run.
        profile: whose arithmetic.
        session: of the graph that calls this one.
    """

    def __init__(
        self, graph: Graph, profile: ArithmeticProfile, session: Session | None = None
    ) -> None:
        self._graph = graph
        self._profile = profile
        self._session = session or Session(graph.library, self._called, self._foresee)
        self._state = initial_state(graph)
        self._bind_core = core.binder()
        self._at_once = steps_at_once(graph)
        last_use = {i: node.index for node in graph.nodes for i in node.inputs}
        self._done_with = [
            [i for i in set(node.inputs) if last_use[i] == node.index] for node in graph.nodes
        ]
        self._bound: dict[int, tuple[list[tuple[int, ...]], Run]] = {}
        self._promises: dict[int, Promise] = dict.fromkeys(graph.inputs, "exact")
        self._own: dict[int, Promise] = {}
        self._settled = False
        self._unknown: dict[int, Undefined] = {}
        self._node_ns = np.zeros(len(graph.nodes), np.int64)
        self._plans: tuple[set[int], dict[int, Plan]] | None = None

    def run(
        self,
        inputs: Sequence[Array],
        *,
        all_tensors: bool = False,
        progress: Progress = no_progress,
    ) -> Emulation:
        """As `emulate`."""
        fitted = fit(self._graph, inputs)
        if fitted is not self._graph:
            self._resize(fitted)
        count, stacked = stack_inputs(self._graph, inputs)
        keep = set(self._graph.outputs)
        if all_tensors:
            keep |= {*self._graph.inputs, *(o for n in self._graph.nodes for o in n.outputs)}
            keep = {i for i in keep if stored_dtype(self._graph.tensors[i].dtype) is not None}
        collected: dict[int, list[Array]] = {}
        self._node_ns = np.zeros(len(self._graph.nodes), np.int64)
        done = 0
        while done < count:
            progress("emulate", done, count)
            end = done + self._at_once
            batches = self._advance([array[done:end] for array in stacked], keep)
            done = end
            for values in batches:
                for index in keep & values.keys():
                    collected.setdefault(index, []).append(values[index])
        progress("emulate", count, count)
        return self._result(collected, count)

    def _resize(self, graph: Graph) -> None:
        """Run at other input shapes from now on; what was bound for others does not hold."""
        self._graph, self._at_once = graph, steps_at_once(graph)
        self._bound.clear()
        self._plans = None

    def _called(self, graph: Graph) -> "Emulator":
        """A graph that this one calls."""
        return Emulator(graph, self._profile, self._session)

    def _foresee(self, graph: Graph) -> Promise:
        return foresee(graph, self._profile, self._session.promise_of_called)

    def call(self, inputs: Sequence[Array]) -> tuple[list[Array | None], Promise, str]:
        """As `harness.emulator.control.Callee`."""
        values = self._run_all(inputs, set(self._graph.outputs))
        tensors = self._graph.tensors
        outputs = []
        for index in self._graph.outputs:
            constant = tensors[index].data
            outputs.append(values.get(index, None if constant is None else constant[np.newaxis]))
        self._settle()
        missing = "; ".join(f"{u.op} (node {u.node}): {u.reason}" for u in self._unknown.values())
        promise = weakest_of(self._promises.get(i, "exact") for i in self._graph.outputs)
        return outputs, promise, missing

    def _advance(self, inputs: Sequence[Array], keep: set[int]) -> list[dict[int, Array]]:
        """The next steps, which the inputs' first axis counts: the values to keep of each batch."""
        self._session.begin()
        with np.errstate(all="ignore"):
            try:
                return [self._run_all(inputs, keep)]
            except Ragged:
                single = range(len(inputs[0]))
                return [self._run_all([x[i : i + 1] for x in inputs], keep) for i in single]

    def _run_all(self, inputs: Sequence[Array], keep: set[int]) -> dict[int, Array]:
        values: dict[int, Array] = dict(zip(self._graph.inputs, inputs, strict=True))
        values |= {index: value[np.newaxis] for index, value in self._state.items()}
        count = len(inputs[0]) if inputs else 1
        plans = self._find_plans(keep)
        position = 0
        while position < len(self._graph.nodes):
            end = position + self._run_plan(plans.get(position), position, values)
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

    def _find_plans(self, keep: set[int]) -> dict[int, "Plan"]:
        """Plans of the nodes bound so far; found once for what is to be kept."""
        if self._plans is None or self._plans[0] != keep:
            self._plans = (keep, core.plan_nodes(self._graph, self._bound, keep))
            self._at_once = steps_at_once(self._graph, self._plans[1])
        return self._plans[1]

    def _run_plan(self, plan: "Plan | None", position: int, values: dict[int, Array]) -> int:
        """Run the plan if it fits the values; how many nodes that were."""
        if plan is None:
            return 0
        inputs = [values[index] for index, _shape in plan.takes if index in values]
        shapes = [shape for _index, shape in plan.takes]
        if [x.shape[1:] for x in inputs] != shapes:
            return 0
        try:
            values |= plan.run(inputs, self._node_ns[position : position + plan.length])
        except core.Undefined:
            return 0  # the nodes run one by one, and the one that it is says why
        except MemoryError as error:
            node = self._graph.nodes[position]
            raise ModelError(f"{where(self._graph, node)}: {error}") from error
        return plan.length

    def _run(self, node: Node, values: dict[int, Array], count: int) -> None:
        if node.op == "DENSIFY" and self._graph.tensors[node.outputs[0]].data is not None:
            self._give(node, "exact")  # a constant since it was read
            return
        arrays = node_values(self._graph, node, values)
        if arrays is None:
            self._give(node, "unknown")
            self._note_missing_constant(node)
            return
        computed = [index in values for index in node.inputs]
        try:
            if node.op in CONTROL_OPS:
                self._control(node, arrays, computed, values)
                return
            results = self._bind(node, arrays, computed)(arrays)
        except NoDefinition as reason:
            self._undefined(node, str(reason))
            return
        except IMPOSSIBLE as error:
            raise ModelError(f"{where(self._graph, node)}: {error}") from error
        if not any(computed):  # constants alone: the same for every step
            results = tuple(np.broadcast_to(y, (count, *y.shape[1:])) for y in results)
        values.update(zip(node.outputs, results, strict=False))
        kept = [i for i in node.inputs if i in self._state]
        self._state |= {i: x[-1] for i, x in zip(kept, results[len(node.outputs) :], strict=False)}
        if self._graph.resized and sum(x.nbytes for x in values.values()) > MAX_COMPUTED_BYTES:
            raise ModelError(f"{where(self._graph, node)}: over {MAX_COMPUTED_BYTES} bytes by now")

    def _control(
        self,
        node: Node,
        arrays: Sequence[Array | None],
        computed: Sequence[bool],
        values: dict[int, Array],
    ) -> None:
        """A node of control flow; it runs on one step at a time."""
        first = first_step(node, arrays, computed)
        self._settle()
        results, promise = self._session.run(node, first, self._weakest_input(node))
        self._give(node, promise)
        if len(results) != len(node.outputs):
            raise CannotRun(f"makes {len(results)} outputs, the file says {len(node.outputs)}")
        values.update((i, y[np.newaxis]) for i, y in zip(node.outputs, results, strict=True))

    def _bind(self, node: Node, arrays: Sequence[Array | None], computed: Sequence[bool]) -> Run:
        """The node's function for inputs of these shapes, over any number of steps.

        Raises:
            NoDefinition: there is none.
        """
        first = first_step(node, arrays, computed) if node.op in BY_VALUE else None
        key = bound_key(node, arrays, computed)
        bound = self._bound.get(node.index)
        if bound is not None and bound[0] == key:
            return bound[1]
        first = first or first_step(node, arrays, computed)
        call, entry = make_call(self._graph, node, first, self._profile)
        if entry is None:
            raise NoDefinition(f"profile {self._profile.name} has no entry for it")
        definition = DEFINITIONS.get((node.op, entry.semantics))
        if definition is None:
            raise NoDefinition(f"semantics {entry.semantics!r} is not defined for it")
        run = self._bind_core(call)
        if run is None:
            run = definition(call)
            if (node.op, entry.semantics) not in ROWWISE or not all(computed):
                run = each_step(run, computed)
        self._bound[node.index] = (key, run)
        self._plans = None
        self._promise(node, entry)
        return run

    def _promise(self, node: Node, entry: Entry) -> None:
        self._give(node, promise_of(entry))

    def _weakest_input(self, node: Node) -> Promise:
        return weakest_of(self._promises.get(i, "exact") for i in node.inputs)

    def _give(self, node: Node, promise: Promise) -> None:
        """What the node itself promises; the weakest of all steps counts."""
        weakest = weakest_of([promise, self._own.get(node.index, "exact")])
        if self._own.get(node.index) != weakest:
            self._own[node.index], self._settled = weakest, False

    def _settle(self) -> None:
        """Bring what every node promises to all that is made of it."""
        if self._settled:
            return
        for node in self._graph.nodes:
            if node.index in self._own:
                promise = weakest_of([self._own[node.index], self._weakest_input(node)])
                self._promises |= dict.fromkeys(node.outputs, promise)
        self._settled = True

    def _undefined(self, node: Node, reason: str) -> None:
        self._give(node, "unknown")
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

    def _result(self, collected: dict[int, list[Array]], count: int) -> Emulation:
        self._settle()
        joined = {
            index: join_steps(parts)
            for index, parts in collected.items()
            if sum(map(len, parts)) == count  # less where some steps had no definition
        }
        return Emulation(
            tuple(joined.get(i, self._repeat(i, count)) for i in self._graph.outputs),
            joined,
            dict(self._promises),
            tuple(self._unknown[i] for i in sorted(self._unknown)),
            tuple(self._node_ns.tolist()),
        )

    def _repeat(self, index: int, count: int) -> Array | None:
        """A constant as an output, which every step gives."""
        data = self._graph.tensors[index].data
        return None if data is None else join_steps([np.broadcast_to(data, (count, *data.shape))])
