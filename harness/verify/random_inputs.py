"""Inputs that need no data set: random and extreme ones, from the graph alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.emulator.formats.tflite import stored_dtype
from harness.emulator.graph import Array, Graph, Node, Tensor
from harness.errors import ModelError

EXTREMES = 3
"""Invocations after the random ones: all lowest, all highest, all zero point."""

_PASSES_ON = {"CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
"""Ops whose output holds the values of their input."""


def random_inputs(graph: Graph, seeds: Sequence[int]) -> tuple[Array, ...]:
    """One batch of inputs for each seed, then the `EXTREMES`, joined along the first axis.

    Integers are uniform over their dtype. Integers without a scale are taken for indices and stay
    below the rows of the tables they look up. Floats are uniform over the real range of the
    quantized tensors made from them, and 10 % beyond; [-1, 1] where there are none.

    Raises:
        ModelError: an input's dtype has no numpy form.
    """
    return tuple(_samples(graph, graph.tensors[index], seeds) for index in graph.inputs)


def _samples(graph: Graph, tensor: Tensor, seeds: Sequence[int]) -> Array:
    dtype = stored_dtype(tensor.dtype)
    if dtype is None:
        raise ModelError(f"input {tensor.name!r}: no random values of dtype {tensor.dtype}")
    low, high, middle = _range(graph, tensor, dtype)
    shape = tensor.shape or (1,)
    parts = []
    for seed in seeds:
        rng = np.random.default_rng([seed, tensor.index])
        if dtype.kind == "f":
            parts.append(rng.uniform(low, high, shape).astype(dtype))
        else:
            parts.append(rng.integers(int(low), int(high), shape, endpoint=True).astype(dtype))
    parts += [np.full(shape, value).astype(dtype) for value in (low, high, middle)]
    return np.concatenate(parts)


def _range(graph: Graph, tensor: Tensor, dtype: np.dtype[Any]) -> tuple[float, float, float]:
    """(lowest, highest, middle) value of an input."""
    if dtype.kind == "b":
        return 0, 1, 0
    if dtype.kind == "f":
        return _float_range(graph, tensor)
    if tensor.quantization is None:
        return 0, _table_rows(graph, tensor) - 1, 0
    limits = np.iinfo(dtype)
    return limits.min, limits.max, int(tensor.quantization.zero_points[0])


def _float_range(graph: Graph, tensor: Tensor) -> tuple[float, float, float]:
    """The real range of what the input is quantized to, and 10 % beyond."""
    ends = []
    for node, _ in _users(graph, tensor):
        target = graph.tensors[node.outputs[0]]
        dtype = stored_dtype(target.dtype)
        if node.op != "QUANTIZE" or target.quantization is None or dtype is None:
            continue
        scale, zero = target.quantization.scales[0], target.quantization.zero_points[0]
        limits = np.iinfo(dtype)
        ends += [float(scale * (limit - zero)) for limit in (limits.min, limits.max)]
    if not ends:
        return -1.0, 1.0, 0.0
    return 1.1 * min(ends), 1.1 * max(ends), 0.0


def _table_rows(graph: Graph, tensor: Tensor) -> int:
    """Rows of the smallest table that the input is an index into; 2 when there is none."""
    rows = []
    for node, position in _users(graph, tensor):
        if node.op == "GATHER" and position == 1:
            table = graph.tensors[node.inputs[0]]
            rows.append(table.shape[int(node.options.get("axis", 0))])
        elif node.op == "EMBEDDING_LOOKUP" and position == 0:
            rows.append(graph.tensors[node.inputs[1]].shape[0])
    return max(1, min(rows, default=2))


def _users(graph: Graph, tensor: Tensor) -> Iterator[tuple[Node, int]]:
    """Nodes that take the tensor's values, also through ops that pass them on; with the position
    among their inputs."""
    same = {tensor.index}
    for node in graph.nodes:
        for position, index in enumerate(node.inputs):
            if index not in same:
                continue
            yield node, position
            if node.op in _PASSES_ON and position == 0:
                same |= set(node.outputs)
