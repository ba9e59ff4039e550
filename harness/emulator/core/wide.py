"""Ops on int16 activations in the core, and GELU of float32; else as `core.bindings`."""

import math
from dataclasses import astuple

import numpy as np

from harness.arithmetic.requantize import Requantization
from harness.emulator.core import _core, threads
from harness.emulator.core.kernels import Elementwise, Layer, LayerKernel, Window, parameters_of
from harness.emulator.core.nodes import ElementwiseRun, LayerRun, NotHere, require, window_of
from harness.emulator.definitions import Call, Run, scale_and_zero_point
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import (
    check_bias,
    has_wide_accumulators,
    requantization,
    weight_zero_point,
)
from harness.emulator.ops.add import make_shifted
from harness.emulator.ops.broadcast import walk
from harness.emulator.ops.fully_connected import output_shape
from harness.emulator.ops.windows import make_windows


def bind(call: Call, level: str) -> Run:
    """As `core.bindings.bind`, for a node whose first input is int16.

    Raises:
        NotHere: the core does not run it.
    """
    require(call.input(0).data is None and call.output.dtype == "int16")
    if call.node.op in {"ADD", "SUB"}:
        return _bind_addition(call)
    binding = _BINDINGS.get(call.node.op)
    if binding is None:
        raise NotHere
    return binding(call, level)


def _constants(call: Call, axis: int) -> tuple[Array, Array | None, Requantization]:
    """Weights, bias and requantization; `axis` of the output channels in the weights."""
    x, w, bias = call.input(0), call.input(1), call.optional(2)
    check_bias(call, w.shape[axis])
    require(has_wide_accumulators(call) and scale_and_zero_point(x)[1] == 0)
    require(w.data is not None and w.data.dtype == np.int8 and weight_zero_point(w, axis) == 0)
    require(bias is None or bias.data is not None)
    made = None if bias is None or bias.data is None else bias.data.astype(np.int64)
    return np.ascontiguousarray(w.data), made, requantization(call)


def _layer(kernel: LayerKernel, window: Window) -> Layer:
    image = (window.out_h, window.out_w, window.out_c)
    return Layer((kernel,), image, "int16", "int16", threads())


def _convolution(call: Call, level: str, window: Window, groups: int) -> Layer:
    weights, bias, rounding = _constants(call, 0)
    parameters = parameters_of(rounding, window.out_c)
    kernel = _core.make_wide_convolution(level, astuple(window), groups, weights, bias, parameters)
    return _layer(kernel, window)


def _bind_convolution(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    require(len(weights) == 4 and weights[3] > 0 and channels % weights[3] == 0)
    window = window_of(make_windows(call, (weights[1], weights[2])), (channels, weights[0]))
    layer = _convolution(call, level, window, channels // weights[3])
    return LayerRun(layer, (call.input(0).shape[0], *layer.image))


def _bind_depthwise(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    require(len(weights) == 4 and weights[0] == 1 and weights[3] == channels)
    window = window_of(make_windows(call, (weights[1], weights[2])), (channels, channels))
    packed, bias, rounding = _constants(call, 3)
    parameters = parameters_of(rounding, channels)
    kernel = _core.make_wide_depthwise(level, astuple(window), packed, bias, parameters)
    layer = _layer(kernel, window)
    return LayerRun(layer, (call.input(0).shape[0], *layer.image))


def _bind_fully_connected(call: Call, level: str) -> Run:
    units, depth = call.input(1).shape
    window = Window(in_h=1, in_w=1, in_c=depth, out_h=1, out_w=1, out_c=units)
    return LayerRun(_convolution(call, level, window, 1), output_shape(call))


def _bind_addition(call: Call) -> Run:
    a, b = call.input(0), call.input(1)
    once = call.semantics == "shifted-once-blocks-of-16"
    require(once or call.semantics == "shifted-S1")
    require(b.data is None and a.shape == b.shape and a.dtype == b.dtype)
    require(not once or walk(a.shape, b.shape).run % 16 == 0)
    p = make_shifted(call)
    (m_1, shift_1), (m_2, shift_2), (m, shift) = p.first, p.second, p.output
    zeros = p.zero_points
    inputs = (zeros[0], m_1, shift_1, zeros[1], m_2, shift_2)
    terms = (*inputs, p.left, m, shift, zeros[2], *p.clamp, once)
    kernel = _core.WideAddition([int(term) for term in terms])
    return ElementwiseRun(Elementwise((kernel,), "int16", "int16", threads()), a.shape, 2)


def bind_gelu(call: Call, _level: str) -> Run:
    """GELU of float32 with the C library's error function, as its definition."""
    x = call.input(0)
    require(x.data is None and x.dtype == call.output.dtype == "float32")
    require(not call.node.options.get("approximate") and math.prod(x.shape) > 0)
    return LayerRun(Layer((_core.Gelu(),), (1, 1, 1), "float32", "float32", threads()), x.shape)


_BINDINGS = {
    "CONV_2D": _bind_convolution,
    "DEPTHWISE_CONV_2D": _bind_depthwise,
    "FULLY_CONNECTED": _bind_fully_connected,
}
