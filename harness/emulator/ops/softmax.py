"""SOFTMAX of 8-bit tensors and of floats."""

import math

import numpy as np

from harness.arithmetic.expf import expf
from harness.arithmetic.fixed_point import (
    doubling_high_mul,
    round_half_away,
    shift_left_int32,
    shift_right_ties_away,
    to_int64,
)
from harness.arithmetic.gemmlowp import exp_of_negative, reciprocal, rescale_to_more_integer_bits
from harness.arithmetic.requantize import quantize_multiplier, round_s1, round_s2
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    same_shape,
    scale_and_zero_point,
)
from harness.emulator.graph import Array

OUTPUT_SHAPES["SOFTMAX"] = same_shape

DIFF_BITS = 5
SUM_BITS = 12
"""Integer bits of the differences to the maximum, and of the sum of exponentials."""


def beta_of(call: Call) -> np.float32:
    """The factor of the input, 1 where the op has none."""
    if not call.input(0).shape:
        raise CannotRun("its input has no dimension, allowed: 1 or more")
    return np.float32(call.node.options.get("beta", 1.0))


def softmax_scaling(call: Call) -> tuple[int, int, int]:
    """(multiplier, shift to the left, largest difference to the maximum that counts).

    Source: LiteRT kernels/internal/quantization_util.cc, PreprocessSoftmaxScaling and
    CalculateInputRadius.
    """
    scale = scale_and_zero_point(call.input(0))[0]
    real = min(float(beta_of(call)) * scale * (1 << (31 - DIFF_BITS)), 2.0**31 - 1)
    if real <= 1:
        raise CannotRun(f"input scale {scale} is too small, allowed: > 2^-26")
    multiplier, left = (int(v) for v in quantize_multiplier(np.asarray(real)))
    radius = math.floor((2.0**DIFF_BITS - 1) * 2.0 ** (31 - DIFF_BITS) / 2.0**left)
    return multiplier, left, radius


@define(["SOFTMAX"], ["gemmlowp"], rowwise=True)
def bind_gemmlowp(call: Call) -> Run:
    """Fixed point: differences in Q5, exponentials in Q0, their sum in Q12.

    Source: LiteRT kernels/internal/reference/softmax.h, Softmax for 8-bit types.
    """
    multiplier, left, radius = softmax_scaling(call)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        diff = x - x.max(axis=-1, keepdims=True)
        counted = diff >= -radius
        shifted = shift_left_int32(np.where(counted, diff, 0), to_int64(left))
        exps = exp_of_negative(doubling_high_mul(shifted, to_int64(multiplier)), DIFF_BITS)
        total = np.where(counted, rescale_to_more_integer_bits(exps, SUM_BITS), 0)
        inverse, over_unit = reciprocal(total.sum(axis=-1, keepdims=True), SUM_BITS)
        product = doubling_high_mul(inverse, exps)
        rounded = shift_right_ties_away(product, over_unit + 31 - 8 * dtype.itemsize)
        y = np.clip(rounded + limits.min, limits.min, limits.max)
        return (np.where(counted, y, limits.min).astype(dtype),)

    return run


def exp_table(call: Call) -> Array:
    """``exp(-s_x beta d)`` of each distance d to the largest, (256,), float32."""
    s_x = np.float32(scale_and_zero_point(call.input(0))[0])
    return expf((-s_x * beta_of(call)) * np.arange(256, dtype=np.float32))


@define(["SOFTMAX"], ["exp-table", "exp-table-half-added"], rowwise=True)
def bind_exp_table(call: Call) -> Run:
    """A table of 256 float32 exponentials, summed in float32 one after the other.

    The quotient is rounded half away and the zero point added; "half-added" (uint8 outputs off
    aarch64): ``int(quotient + 0.5)``, the sum in float32, without the zero point.

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, Softmax, QuantizeSoftmaxOutput and
    PopulateSoftmaxLookupTable.
    """
    s_y, z_y = scale_and_zero_point(call.output)
    table = exp_table(call)
    half_added = call.semantics == "exp-table-half-added"
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        exps = table[x.max(axis=-1, keepdims=True) - x]
        total = np.add.accumulate(exps, axis=-1, dtype=np.float32)[..., -1:]
        quotient = exps * (np.float32(1) / (total * np.float32(s_y)))
        y = (quotient + np.float32(0.5)) if half_added else (round_half_away(quotient) + z_y)
        return (np.clip(to_int64(y), limits.min, limits.max).astype(dtype),)

    return run


@define(["SOFTMAX"], ["exp-table-16-bits"], rowwise=True)
def bind_exp_table_16_bits(call: Call) -> Run:
    """A table of 256 exponentials in 16 bits, summed as integers; S2 in whole blocks of 16 elements
    of a row, S1 in its rest.

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, SoftmaxInt8LUT and
    PopulateSoftmaxUInt8LookupTable (aarch64 built with clang).
    """
    s_x = np.float32(scale_and_zero_point(call.input(0))[0])
    s_y, z_y = scale_and_zero_point(call.output)
    steps = -np.arange(256, dtype=np.float32)
    scaled = expf((s_x * beta_of(call)) * steps) * np.float32(65535)
    table = np.minimum(to_int64(scaled.astype(np.float64) + 0.5), 65535)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)
    depth = call.input(0).shape[-1]
    in_block = np.arange(depth) < depth // 16 * 16

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        exps = table[x.max(axis=-1, keepdims=True) - x]
        total = exps.sum(axis=-1, keepdims=True).astype(np.float32)
        multiplier, shift = quantize_multiplier(np.float32(1) / (total * np.float32(s_y)))
        rounded = np.where(
            in_block, round_s2(exps, multiplier, shift), round_s1(exps, multiplier, shift)
        )
        return (np.clip(rounded + z_y, limits.min, limits.max).astype(dtype),)

    return run


@define(["SOFTMAX"], ["float"], rowwise=True)
def bind_float(call: Call) -> Run:
    """``exp((x - max) * beta)`` over its sum, in float32."""
    beta = beta_of(call)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        exps = np.exp((x - x.max(axis=-1, keepdims=True)) * beta)
        return ((exps / exps.sum(axis=-1, keepdims=True)).astype(x.dtype),)

    return run
