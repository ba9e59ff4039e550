"""RELU and its kin, LEAKY_RELU, PRELU and HARD_SWISH of quantized tensors."""

import numpy as np

from harness.arithmetic.fixed_point import (
    Int64,
    doubling_high_mul_int16,
    saturate_int16,
    shift_right_ties_away,
    shift_right_ties_up,
    to_int64,
    wrap_int16,
)
from harness.arithmetic.requantize import MULTIPLIERS, quantize_multiplier, round_s1
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import tflite_clamp


@define(["RELU", "RELU6", "RELU_N1_TO_1"], ["S1:single"], elementwise=1)
def bind_relu(call: Call) -> Run:
    """``clip(S1(x - z_x, s_x / s_y) + z_y)``, the quotient in float32.

    Source: LiteRT kernels/activations.cc, ReluPrepare and QuantizedReluX.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(np.float32(s_x) / np.float32(s_y)))
    low, high = tflite_clamp(call.node.op, s_y, z_y, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        y = round_s1(to_int64(required(values[0])) - z_x, multiplier, shift) + z_y
        return (np.clip(y, low, high).astype(dtype),)

    return run


def _alpha(call: Call) -> float:
    alpha = call.node.options.get("alpha")
    if not isinstance(alpha, float) or not np.isfinite(alpha):
        raise NoDefinition(f"its alpha {alpha} is not defined")
    return alpha


@define(["LEAKY_RELU"], ["S1:single", "S1:single-signed"], elementwise=1)
def bind_leaky_relu(call: Call) -> Run:
    """From the zero point up ``S1(x - z_x, s_x / s_y)``, below it ``S1(x - z_x, s_x alpha / s_y)``.

    The multipliers in float32. A negative alpha negates what its magnitude gives; "signed": it
    makes the multiplier negative, so that ties go the other way.

    Source: LiteRT kernels/activations.cc, LeakyReluPrepare; internal/reference/leaky_relu.h,
    QuantizeLeakyRelu; signed: internal/optimized/integer_ops/leaky_relu.h.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    alpha, dtype = _alpha(call), numpy_dtype(call.output)
    identity = np.float32(s_x) / np.float32(s_y)
    scaled = np.float32(s_x) * np.float32(abs(alpha)) / np.float32(s_y)
    above = quantize_multiplier(np.asarray(identity))
    multiplier, shift = quantize_multiplier(np.asarray(scaled))
    sign = -1 if alpha < 0 else 1
    inner, outer = (sign, 1) if call.semantics == "S1:single-signed" else (1, sign)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        below = outer * round_s1(x, inner * multiplier, shift)
        y = np.where(x >= 0, round_s1(x, *above), below) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["LEAKY_RELU"], ["rescale-8-bits"], elementwise=1)
def bind_leaky_relu_xnnpack(call: Call) -> Run:
    """``clip((m (x - z_x) + 128 >> 8) + z_y)``, ``m = rint(256 s_x / s_y)``, times alpha below z_x.

    In float32. Domain: s_x / s_y in [2^-8, 2^7], times alpha in (-2^7, 2^7], which LiteRT's
    delegate checks.

    Source: XNNPACK src/qs8-vlrelu/scalar-select.c.in, microparams-init.c
    xnn_init_qs8_lrelu_scalar_params.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    positive = np.float32(s_x) / np.float32(s_y)
    negative = positive * np.float32(_alpha(call))
    above, below = (int(np.rint(np.float32(256) * scale)) for scale in (positive, negative))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        y = ((np.where(x >= 0, above, below) * x + 128) >> 8) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["PRELU"], ["S1:single", "S1:double"], elementwise=1)
def bind_prelu(call: Call) -> Run:
    """``S1(x - z_x, s_x / s_y)``; below z_x ``S1((x - z_x) (a - z_a), s_x s_a / s_y)``.

    The multipliers in float32 or double.

    Source: LiteRT kernels/activations.cc, PreluPrepare; internal/reference/prelu.h, Prelu. In
    double: TFLM micro/kernels/prelu_common.cc, CalculatePreluParams.
    """
    (s_x, z_x), (s_a, z_a) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    make = MULTIPLIERS[call.semantics.partition(":")[2]]
    slopes = np.asarray([1, s_a], np.float32)
    multiplier, shift = quantize_multiplier(make(np.float32(s_x), slopes, np.float32(s_y)))
    above, below = (multiplier[0], shift[0]), (multiplier[1], shift[1])
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        slope = to_int64(required(values[1])) - z_a
        y = np.where(x >= 0, round_s1(x, *above), round_s1(x * slope, *below)) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


def _int16_multiplier(real: np.float32) -> tuple[int, int]:
    """A fixed-point multiplier reduced to 15 bits, and its shift to the left.

    Source: LiteRT kernels/internal/common.h, DownScaleInt32ToInt16Multiplier.
    """
    multiplier, shift = quantize_multiplier(np.asarray(real))
    return min((int(multiplier) + (1 << 15)) >> 16, (1 << 15) - 1), int(shift)


@define(["HARD_SWISH"], ["fixed-16-blocks-of-8"], elementwise=8)
@define(["HARD_SWISH"], ["fixed-16"], elementwise=1)
def bind_hard_swish(call: Call) -> Run:
    """16-bit fixed point: ``x * relu6(x + 3) / 6`` from x shifted left by 7.

    Right shifts round ties away from zero and the last product is truncated; in the whole blocks of
    8 of the second one they round ties up, and it is floored. Domain: s_x / 128 <= s_y.

    Source: LiteRT kernels/activations.cc, HardSwishPrepare; internal/reference/hard_swish.h;
    internal/optimized/optimized_ops.h, HardSwish with __ARM_NEON.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    fine = np.float32(1 / 128) * np.float32(s_x)
    to_output, output_shift = _int16_multiplier(fine / np.float32(s_y))
    to_gate, gate_shift = _int16_multiplier(fine / (np.float32(3) / np.float32(32768)))
    if output_shift > 0:
        raise CannotRun(f"input scale {s_x} is over 128 times the output scale {s_y}")
    blocks = call.semantics.endswith("blocks-of-8")
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def compute(x: Int64, *, neon: bool) -> Int64:
        shift_right = shift_right_ties_up if neon else shift_right_ties_away
        scaled = doubling_high_mul_int16(x, to_int64(to_output))
        gate = saturate_int16(x << max(gate_shift - 1, 0))
        gate = doubling_high_mul_int16(gate, to_int64(to_gate))
        if gate_shift > 0:
            gate = saturate_int16(gate << 1)
        gate = (shift_right(gate, to_int64(max(-gate_shift, 0))) + (1 << 15)) >> 1
        product = gate * scaled
        halved = product >> 15 if neon else np.sign(product) * (np.abs(product) >> 15)
        return wrap_int16(shift_right(halved, to_int64(-output_shift)) + z_y)

    def run(values: Values) -> tuple[Array]:
        x = wrap_int16((to_int64(required(values[0])) - z_x) << 7)
        y = compute(x, neon=False)
        if blocks:
            body = np.arange(x.size).reshape(x.shape) < x.size // 8 * 8
            y = np.where(body, compute(x, neon=True), y)
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run
