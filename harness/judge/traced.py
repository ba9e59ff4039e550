"""Traced: on which invocations every tensor of a graph is looked at, and what is known of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import TensorSpec, dequantized
from harness.emulator.formats.tflite import stored_dtype
from harness.emulator.graph import Graph, Tensor
from harness.emulator.interpreter import Emulation
from harness.emulator.steps import keeps_state
from harness.on_device.slices import count_slices, samples_at_once, take_slices

Array = npt.NDArray[Any]

TRACED_INVOCATIONS = 16
"""Tensors inside are compared on at most so many invocations."""

TRACED_BYTES = 64 << 20
"""And on no more than have so many bytes of tensors, but for one."""


def invocations_to_trace(
    graph: Graph, slices: int, differing: int | None = None
) -> tuple[int, ...]:
    """On which invocations all tensors are compared: spread over all, within `TRACED_BYTES`.

    What a graph that keeps state computes depends on the invocations before: then it is the first
    ones, without a gap.

    Args:
        graph: of the artifact.
        slices: how many invocations there are.
        differing: the first whose outputs differ; it is always among them, but of a graph that
            keeps state only where memory allows all that come before it.
    """
    each = sum(_bytes_of(tensor) for tensor in graph.tensors if tensor.data is None)
    most = max(1, TRACED_BYTES // max(1, each))
    few = min(TRACED_INVOCATIONS, most, slices)
    if keeps_state(graph):
        return tuple(range(few if differing is None else max(few, min(differing + 1, most))))
    chosen = np.linspace(0, slices - 1, few).round().astype(int).tolist()
    if differing is not None and differing not in chosen:
        chosen[int(np.argmin([abs(one - differing) for one in chosen]))] = differing
    return tuple(sorted(chosen))


def take_these(
    specs: Sequence[TensorSpec], inputs: Sequence[Array], slices: Sequence[int]
) -> tuple[Array, ...]:
    """The samples of those invocations, joined."""
    parts = [take_slices(specs, inputs, one, one + 1) for one in slices]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def samples_in(
    specs: Sequence[TensorSpec], slices: Sequence[int], inputs: Sequence[Array]
) -> tuple[tuple[int, int], ...]:
    """The ranges of samples that invocations hold; adjacent ones are one range."""
    batch, count = samples_at_once(specs), count_slices(specs, inputs)
    held = [
        len(x)
        for spec, x in zip(specs, inputs, strict=True)
        if spec.batched and spec.shape and -(-len(x) // batch) == count
    ]
    samples = max(held, default=count * batch)  # the last batch may have been filled up
    ranges: list[tuple[int, int]] = []
    for one in slices:
        start, stop = one * batch, min((one + 1) * batch, samples)
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, stop))
    return tuple(ranges)


def real_tensors(graph: Graph, traced: Emulation) -> dict[str, Array]:
    """Every tensor that was kept, dequantized, by name."""
    return {graph.tensors[i].name: real(graph.tensors[i], x) for i, x in traced.tensors.items()}


def bounds_of(graph: Graph) -> dict[str, tuple[float, float]]:
    """By name, the lowest and highest real value of each tensor that is quantized per tensor."""
    found = {}
    for tensor in graph.tensors:
        stored, quantization = stored_dtype(tensor.dtype), tensor.quantization
        if stored is None or stored.kind not in "iu" or tensor.data is not None:
            continue
        if quantization is not None and len(quantization.scales) == 1:
            ends = np.array([np.iinfo(stored).min, np.iinfo(stored).max])
            low, high = real(tensor, ends).tolist()
            found[tensor.name] = (low, high)
    return found


def constants_of(graph: Graph) -> frozenset[int]:
    """Positions of the outputs that are constants of the file."""
    return frozenset(
        at for at, index in enumerate(graph.outputs) if graph.tensors[index].data is not None
    )


def _bytes_of(tensor: Tensor) -> int:
    stored = stored_dtype(tensor.dtype)
    size = int(np.prod(np.abs(tensor.shape), dtype=object))
    return 0 if stored is None else size * stored.itemsize


def real(tensor: Tensor, x: Array) -> Array:
    """Values of a tensor that is quantized per tensor, dequantized; others as they are."""
    quantization = tensor.quantization
    if quantization is None or len(quantization.scales) != 1:
        return x
    return dequantized(x, quantization.scales[0], quantization.zero_points[0])
