"""Steps: a graph made for one batch runs on many, several at a time.

The values of several steps are one array with one more leading axis, which counts them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from harness.emulator.definitions import Run, Values
from harness.emulator.formats.tflite import stored_dtype
from harness.emulator.graph import Array, Graph, Node, Tensor
from harness.errors import ModelError

_MOST_STEPS = 64
_BYTES_AT_ONCE = 8 << 20
"""What one node should read and write at a time: more would leave the caches."""


class Planned(Protocol):
    """Nodes that run as one call, such as `harness.emulator.core.plans.Plan`."""

    length: int
    step_bytes: int


class Ragged(Exception):
    """Steps gave results of different shapes; they must run one by one."""


def stack_inputs(graph: Graph, inputs: Sequence[Array]) -> tuple[int, list[Array]]:
    """The number of steps, and the inputs with an axis that counts them.

    Raises:
        ModelError: an input does not fit the graph.
    """
    if len(inputs) != len(graph.inputs):
        names = ", ".join(graph.tensors[i].name for i in graph.inputs)
        raise ModelError(f"got {len(inputs)} inputs, the graph takes {len(graph.inputs)}: {names}")
    stacked = [
        _stack(graph.tensors[index], np.asarray(array), position)
        for position, (index, array) in enumerate(zip(graph.inputs, inputs, strict=True))
    ]
    counts = [len(array) for array in stacked] or [1]
    if len(set(counts)) > 1:
        raise ModelError(f"the inputs hold different numbers of batches: {counts}")
    return counts[0], stacked


def _stack(tensor: Tensor, array: Array, position: int) -> Array:
    where = f"input {position} ({tensor.name!r})"
    stored = stored_dtype(tensor.dtype)
    if stored is None or array.dtype != stored:
        raise ModelError(f"{where}: got dtype {array.dtype}, allowed: {tensor.dtype}")
    if not tensor.shape and array.ndim <= 1:
        return array.reshape(-1)
    batch = tensor.shape[0] if tensor.shape else 0
    fits = array.ndim == len(tensor.shape) and array.shape[1:] == tensor.shape[1:]
    if not fits or not batch or not len(array) or len(array) % batch:
        allowed = ", ".join(str(d) for d in tensor.shape[1:])
        raise ModelError(
            f"{where}: got shape {list(array.shape)}, allowed: [n * {batch}, {allowed}]"
        )
    return array.reshape(len(array) // batch, *tensor.shape)


_ONE_BY_ONE = {"IF", "WHILE", "CALL_ONCE", "STABLEHLO_COMPOSITE"}


def keeps_state(graph: Graph) -> bool:
    """Whether a run depends on those before it."""
    graphs = (graph, *graph.library)
    return any(t.variable for g in graphs for t in g.tensors) or any(
        n.op in {"READ_VARIABLE", "ASSIGN_VARIABLE"} for g in graphs for n in g.nodes
    )


def initial_state(graph: Graph) -> dict[int, Array]:
    """The first values of variable tensors: the zero point's low byte in int8, else 0.

    Source: LiteRT core/subgraph.cc, ResetVariableTensors.
    """
    state: dict[int, Array] = {}
    for tensor in graph.tensors:
        dtype = stored_dtype(tensor.dtype)
        if not tensor.variable or tensor.index in graph.inputs or dtype is None:
            continue
        zero = 0
        if tensor.dtype == "int8" and tensor.quantization is not None:
            zero = int(np.int64(tensor.quantization.zero_points[0]).astype(np.int8))
        state[tensor.index] = np.full(tensor.shape, zero, dtype)
    return state


def steps_at_once(graph: Graph, plans: Mapping[int, Planned] | None = None) -> int:
    """How many steps run together: as many as the caches hold; one when the graph keeps state or
    calls others.

    Args:
        graph: whose nodes.
        plans: nodes that run as one, by the position of their first: what lies between them does
            not count.
    """
    if keeps_state(graph) or any(node.op in _ONE_BY_ONE for node in graph.nodes):
        return 1
    plans = plans or {}
    inside = {at + i for at, plan in plans.items() for i in range(plan.length)}
    sizes = [plan.step_bytes for plan in plans.values()]
    sizes += [_computed_bytes(graph, n) for i, n in enumerate(graph.nodes) if i not in inside]
    return max(1, min(_MOST_STEPS, _BYTES_AT_ONCE // max(1, *sizes, 1)))


def _computed_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the computed tensors of a node, by the file's shapes."""
    tensors = [graph.tensors[i] for i in (*node.inputs, *node.outputs) if i >= 0]
    stored = [(t.shape, stored_dtype(t.dtype)) for t in tensors if t.data is None]
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in stored if dtype is not None)


def each_step(run: Run, computed: Sequence[bool]) -> Run:
    """A definition's `Run`, which knows one step, as one for several.

    Args:
        run: takes and gives the values of one step.
        computed: of the inputs, which have the axis of steps; constants have not.
    """

    def run_steps(values: Values) -> tuple[Array, ...]:
        marked = list(zip(values, computed, strict=True))
        count = next((len(v) for v, has_steps in marked if has_steps and v is not None), 1)
        results = [
            run([v[i, ...] if has_steps and v is not None else v for v, has_steps in marked])
            for i in range(count)
        ]
        return tuple(_stack_results(parts) for parts in zip(*results, strict=True))

    return run_steps


def _stack_results(parts: Sequence[Array]) -> Array:
    if len(parts) == 1:
        return np.asarray(parts[0])[np.newaxis]
    if len({part.shape for part in parts}) > 1:
        raise Ragged
    return np.stack(parts)


def join_steps(parts: Sequence[Array]) -> Array:
    """All steps along the first axis of the tensor; tensors of rank 0 are stacked.

    Raises:
        ModelError: the steps differ in more than the first dimension.
    """
    flat = [p if p.ndim == 1 else p.reshape(len(p) * p.shape[1], *p.shape[2:]) for p in parts]
    if len({p.shape[1:] for p in flat}) > 1:
        shapes = ", ".join(str(list(p.shape)) for p in flat)
        raise ModelError(f"samples give results that cannot be joined, of shapes {shapes}")
    return np.concatenate(flat)
