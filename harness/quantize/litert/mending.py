"""Mends scales that a quantized `.tflite` cannot work with: biases beyond 32 bits, channels whose
weights are all zero, constants of zeros.

litert-quantizer gives what holds only zeros a scale near 4e-12. A bias counts in steps of the
input's scale times its channel's weight scale, so there it is clipped to 32 bits and lost, and
XNNPACK refuses such scales. A larger weight scale costs nothing where the weights are zero, and
little where the bias is what counts.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph, Node, Tensor
from harness.errors import ModelError
from harness.quantize.litert.patching import LEAST_SCALE, TflitePatch

Array = npt.NDArray[Any]

WEIGHTED = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "CONV_3D": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
"""Places of the input, the weights and the bias among an op's inputs."""

_MOST_BIAS = 2.0**30
"""Half of 32 bits: the products need the other half."""
_ZERO_SCALE = 1e-10
"""Below it, a scale is the quantizer's own for zeros."""


def mend(content: bytes, source: Graph) -> bytes:
    """The file with usable scales; the same where nothing was to mend.

    Args:
        content: what the quantizer made.
        source: the float graph that it came from.
    """
    try:
        graph = read_model(content).main
    except ModelError:
        return content
    writable = bytearray(content)
    patch = TflitePatch(writable)
    used = Counter(tensor for node in graph.nodes for tensor in node.inputs)
    floats = {tensor.name: tensor.data for tensor in source.tensors if tensor.data is not None}
    for node in graph.nodes:
        if node.op in WEIGHTED:
            _mend_weights(patch, graph, node, used, floats)
        elif node.op not in {"SELECT", "SELECT_V2", "CONCATENATION", "PADV2", "PACK"}:
            _mend_zeros(patch, graph, node)
    return bytes(writable)


def _mend_zeros(patch: TflitePatch, graph: Graph, node: Node) -> None:
    """Constants that are all zero: any scale says the same."""
    for index in node.inputs:
        tensor = graph.tensors[index] if index >= 0 else None
        if tensor is None or tensor.data is None or tensor.quantization is None:
            continue
        scales, zero_points = tensor.quantization.scales, tensor.quantization.zero_points
        if scales.size == 1 and scales[0] < _ZERO_SCALE and np.all(tensor.data == zero_points[0]):
            patch.scales(index)[:] = LEAST_SCALE


def _mend_weights(
    patch: TflitePatch,
    graph: Graph,
    node: Node,
    used: Counter[int],
    floats: dict[str, Array],
) -> None:
    x, weights, bias = _operands(graph, node)
    if x is None or weights is None or used[weights.index] > 1:
        return
    if weights.data is None or weights.quantization is None:
        return
    real = floats.get(weights.name)
    old = weights.quantization.scales
    new = _needed_scales(x, old, None if bias is None else floats.get(bias.name))
    if real is None or np.array_equal(new, old) or weights.dtype != "int8":
        return
    axis = weights.quantization.axis
    shape = [1] * real.ndim
    shape[axis if new.size > 1 else 0] = -1 if new.size > 1 else 1
    changed = np.clip(np.rint(real / new.reshape(shape)), -127, 127).astype(np.int8)
    patch.data(weights.index, "int8")[:] = changed.ravel()
    patch.scales(weights.index)[:] = new
    _mend_bias(patch, x, new, bias, floats)


def _mend_bias(
    patch: TflitePatch,
    x: Tensor,
    scales: Array,
    bias: Tensor | None,
    floats: dict[str, Array],
) -> None:
    if bias is None or bias.quantization is None or x.quantization is None:
        return
    steps = np.float64(x.quantization.scales[0]) * scales.astype(np.float64)
    stored = patch.data(bias.index, bias.dtype)
    stored[:] = np.rint(floats[bias.name].ravel() / steps).astype(bias.dtype)
    patch.scales(bias.index)[:] = steps.astype(np.float32)


def _operands(graph: Graph, node: Node) -> list[Tensor | None]:
    places = WEIGHTED[node.op]
    indices = [node.inputs[place] if place < len(node.inputs) else -1 for place in places]
    return [graph.tensors[index] if index >= 0 else None for index in indices]


def _needed_scales(x: Tensor, scales: Array, bias: Array | None) -> Array:
    """Weight scales that are usable, with which the bias fits."""
    usable = scales[scales >= _ZERO_SCALE]
    needed = np.where(scales < _ZERO_SCALE, usable.max(initial=0.0) or LEAST_SCALE, scales)
    if bias is not None and x.quantization is not None:
        least = np.abs(bias.ravel().astype(np.float64)) / (
            np.float64(x.quantization.scales[0]) * _MOST_BIAS
        )
        needed = np.maximum(needed, least if scales.size > 1 else least.max(initial=0.0))
    return np.asarray(needed, np.float32)
