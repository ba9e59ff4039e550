"""SQRT, RSQRT, ABS, NEG and L2_NORMALIZATION of quantized tensors."""

import numpy as np

from harness.arithmetic.fixed_point import Int64, to_int64
from harness.arithmetic.gemmlowp import inverse_square_root
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    Call,
    CannotRun,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array

_RSQRT_BITS = 20


def _not_negative(x: Int64) -> Int64:
    if x.size and x.min() < 0:
        raise CannotRun("its input is below zero, which the runtime refuses")
    return x


@define(["SQRT"], ["truncated"])
def bind_sqrt(call: Call) -> Run:
    """``int(sqrt(s_x (x - z_x)) / s_y) + z_y``, truncated; all in float32. Domain: x >= z_x.

    Source: LiteRT kernels/elementwise.cc, SqrtEvalQuantized.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = _not_negative(to_int64(required(values[0])) - z_x)
        root = np.sqrt(np.float32(s_x) * x.astype(np.float32)) / np.float32(s_y)
        y = np.trunc(root).astype(np.float64) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["RSQRT"], ["newton"], rowwise=True)
def bind_rsqrt(call: Call) -> Run:
    """``S1(S1(2^20 / sqrt(x - z_x)), 2^-20 / (sqrt(s_x) s_y)) + z_y``; the highest output for 0.

    The inverse root by `inverse_square_root`; the root of s_x and its product in float32, then
    double. Domain: x >= z_x.

    Source: LiteRT kernels/elementwise.cc, RsqrtEvalQuantizedInt8 and SetRsqrtOutputMultiplier.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    scale = 1.0 / float(np.sqrt(np.float32(s_x)) * np.float32(s_y))
    multiplier, shift = quantize_multiplier(np.asarray(scale))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = _not_negative(to_int64(required(values[0])) - z_x)
        inverse, right = inverse_square_root(x)
        raised = round_s1(np.ones_like(x), inverse, _RSQRT_BITS - right)
        y = round_s1(raised, multiplier, shift - _RSQRT_BITS) + z_y
        y = np.where(x == 0, limits.max, y)
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["ABS"], ["S1:single"], elementwise=1)
def bind_abs(call: Call) -> Run:
    """``S1(|x - z_x|, s_x / s_y) + z_y``, the quotient in float32; equal scales need no S1.

    Source: LiteRT kernels/elementwise.cc, AbsEvalQuantized and SetAbsOutputMultiplier.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(np.float32(s_x) / np.float32(s_y)))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = np.abs(to_int64(required(values[0])) - z_x)
        y = (x if s_x == s_y else round_s1(x, multiplier, shift)) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["NEG"], ["raw"], elementwise=1)
def bind_neg(_call: Call) -> Run:
    """The stored value negated, whatever the quantizations are; the lowest value stays.

    Source: LiteRT kernels/internal/reference/neg.h, Negate.
    """
    return lambda values: (np.negative(required(values[0])),)


@define(["L2_NORMALIZATION"], ["newton"])
def bind_l2_normalization(call: Call) -> Run:
    """``S1(128 (x - z_x) / sqrt(sum (x - z_x)^2)) + z_y`` over the last axis.

    The inverse root by `inverse_square_root`. Domain: sums below 2^31.

    Source: LiteRT kernels/internal/reference/integer_ops/l2normalization.h and
    reference/l2normalization.h, L2Normalization.
    """
    if not call.input(0).shape:
        raise CannotRun("its input has no dimension, allowed: 1 or more")
    z_x = scale_and_zero_point(call.input(0))[1]
    z_y = scale_and_zero_point(call.output)[1]
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        inverse, right = inverse_square_root((x * x).sum(axis=-1, keepdims=True))
        if dtype == np.uint8:
            y = round_s1(128 * x, inverse, -right) + z_y
        else:
            y = round_s1(x, inverse, 7 - right) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run
