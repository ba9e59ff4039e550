"""SVDF: a rank-limited filter over the last inputs, which a state keeps."""

import numpy as np

from harness.arithmetic.fixed_point import to_int64, wrap_int32
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.dynamic_rows import product_of

_INT16_LOW, _INT16_HIGH = -(1 << 15), (1 << 15) - 1


def _sizes(call: Call) -> tuple[int, int, int]:
    """(filters, memory, rank)."""
    feature, times = call.input(1).shape, call.input(2).shape
    rank = int(call.node.options.get("rank", 0))
    if len(feature) != 2 or len(times) != 2 or feature[0] != times[0] or rank < 1:
        raise CannotRun(f"weights of shapes {list(feature)} and {list(times)}, rank {rank}")
    if len(call.input(0).shape) != 2:
        raise CannotRun(f"its input has {len(call.input(0).shape)} dimensions, allowed: 2")
    if feature[0] % rank or not call.input(4).variable:
        raise CannotRun(f"{feature[0]} filters of rank {rank}, or a state that is no variable")
    return feature[0], times[1], rank


def _shifted(state: Array, newest: Array) -> Array:
    """The state with its oldest entry dropped and a new one behind; (batch, filters, memory)."""
    return np.concatenate([state[..., 1:], newest[..., np.newaxis]], axis=-1)


@define(["SVDF"], ["int8-16-S1"])
def bind_integer(call: Call) -> Run:
    """``S1(sum(w_t s) + b)`` over a state of ``clip(S1(W (x - z_x)))`` in int16; S1 twice.

    Multipliers in float32: ``s_x s_w / s_s`` and ``s_s s_t / s_y``. The node gives the output,
    then the new state.

    Source: LiteRT kernels/svdf.cc, Prepare; internal/reference/svdf.h, EvalIntegerSVDF.
    """
    filters, memory, rank = _sizes(call)
    scales = [np.float32(scale_and_zero_point(call.input(i))[0]) for i in (0, 1, 2, 4)]
    s_y, z_y = scale_and_zero_point(call.output)
    if fused_activation(call) != "RELU":
        raise CannotRun(f"its activation is {fused_activation(call)}, allowed: RELU")
    first = quantize_multiplier(np.asarray(scales[0] * scales[1] / scales[3]))
    second = quantize_multiplier(np.asarray(scales[3] * scales[2] / np.float32(s_y)))
    z_x = scale_and_zero_point(call.input(0))[1]

    def run(values: Values) -> tuple[Array, ...]:
        x = to_int64(required(values[0])) - z_x
        feature, times = (to_int64(required(values[i])) for i in (1, 2))
        state = to_int64(required(values[4])).reshape(len(x), filters, memory)
        newest = round_s1(wrap_int32(x @ feature.T), *first)
        state = _shifted(state, np.clip(newest, _INT16_LOW, _INT16_HIGH))
        sums = wrap_int32((state * times).sum(axis=-1))
        total = sums.reshape(len(x), filters // rank, rank).sum(axis=-1)
        if len(values) > 3 and values[3] is not None:
            total = total + values[3]
        y = np.clip(round_s1(wrap_int32(total), *second) + z_y, -128, 127)
        return y.astype(np.int8), state.reshape(len(x), -1).astype(np.int16)

    return run


@define(["SVDF"], ["float"])
def bind_float(call: Call) -> Run:
    """The same in float32; int8 weights take rows of the input quantized at run time."""
    filters, memory, rank = _sizes(call)
    if call.input(0).dtype != "float32":
        raise NoDefinition("it is not float32")
    product = product_of(call, 1)
    times = call.input(2)
    scale = np.float32(1 if times.dtype == "float32" else scale_and_zero_point(times)[0])
    activation = fused_activation(call)

    def run(values: Values) -> tuple[Array, ...]:
        x = required(values[0])
        state = required(values[4]).reshape(len(x), filters, memory)
        state = _shifted(state, product(x, required(values[1])))
        sums = (state * (required(values[2]).astype(np.float32) * scale)).sum(axis=-1)
        y = sums.reshape(len(x), filters // rank, rank).sum(axis=-1)
        if len(values) > 3 and values[3] is not None:
            y = y + values[3]
        y = clamp_float(y.astype(np.float32), activation)
        return y, state.reshape(len(x), -1).astype(np.float32)

    return run
