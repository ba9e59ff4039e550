"""Hybrid ops in the core: rows quantized, integer products, float32 outputs in one kernel.

As in `core.bindings`: a binding gives None for whatever the core is not exact for.
"""

import math
from dataclasses import astuple, dataclass
from itertools import product

import numpy as np

from harness.emulator.core import _core, threads
from harness.emulator.core.kernels import Layer, LayerKernel, Window
from harness.emulator.core.nodes import LayerRun, NotHere, require, window_of
from harness.emulator.definitions import DEFINITIONS, Call, NoDefinition, Run, Values
from harness.emulator.graph import Array
from harness.emulator.ops.batch_matmul import columns_axis, is_turned, output_shape
from harness.emulator.ops.clamp import fused_activation, real_range
from harness.emulator.ops.fully_connected import output_shape as dense_shape
from harness.emulator.ops.hybrid import (
    OUT_OF_DOMAIN,
    asks_for_zero_points,
    image_row,
    symmetric_scales,
    takes_per_channel,
)
from harness.emulator.ops.windows import make_windows

_ROWS = {"qd8": (0, 0), "qp8": (1, 1), "away": (2, 4), "half-added": (3, 5)}
"""The core's number of a way to quantize rows: without zero points, with."""
_EXPRESSIONS = {
    name: number
    for number, name in enumerate(
        ("qd8", "fused", "product", "weights-first", "rows-first", "blocks-of-4")
    )
}
SEMANTICS = {f"hybrid:{rows}:{scaling}" for rows, scaling in product(_ROWS, _EXPRESSIONS)}


class HybridRun(LayerRun):
    """A hybrid kernel as a `Run`; rows without a scale in float32 have no definition."""

    def __call__(self, values: Values) -> tuple[Array]:
        """As a `Run`."""
        try:
            return super().__call__(values)
        except _core.Undefined:
            raise NoDefinition(OUT_OF_DOMAIN) from None


@dataclass(frozen=True, eq=False)
class _Hybrid:
    """What a hybrid kernel is made of: constants, elements of a row, and the core's numbers."""

    weights: Array
    row: int
    rows: int
    terms: tuple[int, list[float], list[float], float, float]


def bind(call: Call, level: str) -> Run:
    """As `core.bindings.bind`, for a node under one of `SEMANTICS`.

    Raises:
        NotHere: the core does not run it.
    """
    x, y = call.input(0), call.output
    require(x.dtype == "float32" and y.dtype == "float32" and x.data is None)
    DEFINITIONS[call.node.op, call.semantics](call)  # raises for what is not defined
    kernel = _BINDINGS.get(call.node.op)
    if kernel is None:
        raise NotHere
    return kernel(call, level)


def _hybrid(call: Call, axis: int, row: int, *, zero_points: bool) -> _Hybrid:
    """`axis` of the output channels in the weights."""
    w, bias = call.input(1), call.optional(2)
    require(w.data is not None and w.data.dtype == np.int8)
    require(bias is None or (bias.data is not None and bias.data.dtype == np.float32))
    _, rows, expression = call.semantics.split(":")
    channels = w.shape[axis]
    scales = np.broadcast_to(symmetric_scales(w, axis), (channels,))
    biases = np.zeros(channels) if bias is None or bias.data is None else bias.data
    low, high = real_range(fused_activation(call))
    terms = (
        _EXPRESSIONS[expression],
        scales.tolist(),
        biases.tolist(),
        -math.inf if low is None else low,
        math.inf if high is None else high,
    )
    return _Hybrid(np.asarray(w.data), row, _ROWS[rows][zero_points], terms)


def _layer(kernel: LayerKernel, window: Window) -> Layer:
    image = (window.out_h, window.out_w, window.out_c)
    return Layer((kernel,), image, "float32", "float32", threads())


def _convolution(level: str, window: Window, groups: int, hybrid: _Hybrid) -> Layer:
    weights = np.ascontiguousarray(hybrid.weights)
    kernel = _core.make_hybrid_convolution(
        level, astuple(window), groups, weights, hybrid.row, hybrid.rows, hybrid.terms
    )
    return _layer(kernel, window)


def _bind_convolution(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    window = window_of(make_windows(call, (weights[1], weights[2])), (channels, weights[0]))
    zero_points = takes_per_channel(call)
    hybrid = _hybrid(call, 0, image_row(call), zero_points=zero_points)
    layer = _convolution(level, window, channels // weights[3], hybrid)
    return HybridRun(layer, (call.input(0).shape[0], *layer.image))


def _bind_depthwise(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    require(weights[3] == channels)
    window = window_of(make_windows(call, (weights[1], weights[2])), (channels, channels))
    hybrid = _hybrid(call, 3, image_row(call), zero_points=True)
    made = np.ascontiguousarray(hybrid.weights)
    kernel = _core.make_hybrid_depthwise(
        level, astuple(window), made, hybrid.row, hybrid.rows, hybrid.terms
    )
    layer = _layer(kernel, window)
    return HybridRun(layer, (call.input(0).shape[0], *layer.image))


def _dense(depth: int, units: int) -> Window:
    return Window(in_h=1, in_w=1, in_c=depth, out_h=1, out_w=1, out_c=units)


def _bind_fully_connected(call: Call, level: str) -> Run:
    units, depth = call.input(1).shape
    hybrid = _hybrid(call, 0, depth, zero_points=asks_for_zero_points(call))
    return HybridRun(_convolution(level, _dense(depth, units), 1, hybrid), dense_shape(call))


def _bind_batch_matmul(call: Call, level: str) -> Run:
    """One constant matrix for all rows: a fully connected layer."""
    w = call.input(1)
    require(math.prod(w.shape[:-2]) == 1 and not is_turned(call, 0) and w.data is not None)
    columns = columns_axis(call)
    hybrid = _hybrid(call, columns, call.input(0).shape[-1], zero_points=asks_for_zero_points(call))
    matrix = hybrid.weights.reshape(w.shape[-2:])
    turned = matrix if is_turned(call, 1) else matrix.T
    hybrid = _Hybrid(turned, hybrid.row, hybrid.rows, hybrid.terms)
    units, depth = turned.shape
    return HybridRun(_convolution(level, _dense(depth, units), 1, hybrid), output_shape(call))


_BINDINGS = {
    "CONV_2D": _bind_convolution,
    "DEPTHWISE_CONV_2D": _bind_depthwise,
    "FULLY_CONNECTED": _bind_fully_connected,
    "BATCH_MATMUL": _bind_batch_matmul,
}
