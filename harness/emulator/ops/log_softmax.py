"""LOG_SOFTMAX of 8-bit tensors and of floats, and SOFTMAX of int16 tensors."""

import numpy as np

from harness.arithmetic.expf import expf
from harness.arithmetic.fixed_point import Int64, shift_right_ties_away, to_int64
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.gemmlowp import (
    exp_of_negative,
    log_of_at_least_one,
    rescale_to_more_integer_bits,
)
from harness.arithmetic.interpolation import interpolate, interpolation_table
from harness.arithmetic.logf import logf
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    Run,
    Values,
    define,
    required,
    same_shape,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.softmax import DIFF_BITS, SUM_BITS, beta_of, softmax_scaling

OUTPUT_SHAPES["LOG_SOFTMAX"] = same_shape

_OUTPUT_BITS = 4
_INT16_LOW, _INT16_HIGH = -(1 << 15), (1 << 15) - 1


@define(["LOG_SOFTMAX"], ["gemmlowp"], rowwise=True)
def bind_gemmlowp(call: Call) -> Run:
    """``x - max - ln sum exp(x - max)`` in Q5, exponentials in Q0, their sum in Q12.

    Inputs so far below the maximum that the result leaves Q5 give the lowest output. The output's
    scale is 1/16, its zero point the highest value.

    Source: LiteRT kernels/internal/reference/log_softmax.h and integer_ops/log_softmax.h;
    quantization_util.cc, PreprocessLogSoftmaxScalingExp.
    """
    multiplier, left, radius = softmax_scaling(call)
    reverse = quantize_multiplier(np.asarray(2.0 ** (31 - left) / multiplier))
    dtype = np.dtype(call.output.dtype)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        diff = x - x.max(axis=-1, keepdims=True)
        scaled = round_s1(np.maximum(diff, -radius), to_int64(multiplier), to_int64(left))
        exps = rescale_to_more_integer_bits(exp_of_negative(scaled, DIFF_BITS), SUM_BITS)
        total = np.where(diff >= -radius, exps, 0).sum(axis=-1, keepdims=True)
        log_sum = log_of_at_least_one(total, SUM_BITS, DIFF_BITS)
        lowest = np.maximum(-radius - 1, round_s1(log_sum - (1 << 31), *reverse))
        rounded = shift_right_ties_away(scaled - log_sum, to_int64(31 - DIFF_BITS - _OUTPUT_BITS))
        y = np.clip(rounded + limits.max, limits.min, limits.max)
        return (np.where(diff > lowest, y, limits.min).astype(dtype),)

    return run


@define(["LOG_SOFTMAX"], ["exp-table", "exp-table-fused"], rowwise=True)
def bind_exp_table(call: Call) -> Run:
    """``rint(t x - (s_x max + ln sum) / s_y) + z_y``, ``t = s_x / s_y``, in float32, ties to even;
    the exponentials from a table of 256, summed one after the other.

    "fused" where the compiler rounds a product and its sum once (aarch64).

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, LogSoftmax.
    """
    s_x = np.float32(scale_and_zero_point(call.input(0))[0])
    s_y, z_y = scale_and_zero_point(call.output)
    table = expf((-s_x * beta_of(call)) * np.arange(256, dtype=np.float32))
    scale = np.asarray(s_x / np.float32(s_y))
    fused = call.semantics.endswith("fused")
    dtype = np.dtype(call.output.dtype)
    limits = np.iinfo(dtype)

    def multiply_add(a: Array, b: Array, c: Array) -> Array:
        return fused_multiply_add(a, np.broadcast_to(b, a.shape), c) if fused else a * b + c

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        top = x.max(axis=-1, keepdims=True)
        total = np.add.accumulate(table[top - x], axis=-1, dtype=np.float32)[..., -1:]
        largest = multiply_add(top.astype(np.float32), np.asarray(s_x), logf(total))
        offset = np.broadcast_to(-(largest / np.float32(s_y)), x.shape)
        y = np.rint(multiply_add(x.astype(np.float32), scale, offset)).astype(np.int64) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["LOG_SOFTMAX"], ["float"], rowwise=True)
def bind_float(call: Call) -> Run:
    """``x - max - ln sum exp(x - max)`` in float32."""
    if not call.input(0).shape:
        raise CannotRun("its input has no dimension, allowed: 1 or more")

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        shifted = x - x.max(axis=-1, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True, dtype=x.dtype)),)

    return run


def _reciprocal(total: Int64, table: Int64) -> tuple[Int64, Int64]:
    """``1 / total`` of Q16 values: 15 bits from a table of 1 / (1 + x), and the zeros above."""
    zeros = to_int64(32 - np.frexp(total.astype(np.float64))[1])
    shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14
    centred = np.clip(shifted - ((1 << 15) + (1 << 16)), _INT16_LOW, _INT16_HIGH)
    return interpolate(to_int64(centred), table), zeros


@define(["SOFTMAX"], ["interpolated", "interpolated-single"], rowwise=True)
def bind_int16(call: Call) -> Run:
    """Exponentials from -10 to 0 and reciprocals, each from a table with straight lines.

    ``(e_i r + 2^(k - 1)) >> k``: e_i in Q0 of 16 bits, r the reciprocal of their sum. The tables
    are made in double and the input's scale times beta in float32; "single" the other way round.

    Source: LiteRT kernels/internal/reference/softmax.h, SoftmaxInt16 and SoftMaxCalculateExp;
    kernels/activations.cc, SoftmaxPrepare. "single": TFLM micro/kernels/softmax_common.cc,
    InitializeLutForInt16 and CalculateSoftmaxParams.
    """
    single = call.semantics.endswith("single")
    table, scaling = (np.float32, np.float64) if single else (np.float64, np.float32)
    ten, one, two = (table(number) / table(65535) for number in (10, 1, 2))
    exp_table = interpolation_table(expf if single else np.exp, ten, _INT16_HIGH, two, 0)
    inverse_table = interpolation_table(lambda x: 1 / (1 + x), one, _INT16_LOW, two, 0)
    scale = scaling(scale_and_zero_point(call.input(0))[0]) * scaling(beta_of(call))
    multiplier, shift = quantize_multiplier(np.asarray(float(scale) / (10.0 / 65535.0)))

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        scaled = round_s1(x - x.max(axis=-1, keepdims=True), multiplier, shift) + _INT16_HIGH
        exps = interpolate(to_int64(np.clip(scaled, _INT16_LOW, _INT16_HIGH)), exp_table)
        reciprocal, zeros = _reciprocal(exps.sum(axis=-1, keepdims=True), inverse_table)
        right = 31 - zeros
        y = (exps * reciprocal + (np.int64(1) << (right - 1))) >> right
        return (np.clip(y, 0, _INT16_HIGH).astype(np.int16),)

    return run
