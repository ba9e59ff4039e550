"""Requantization: from an int32 accumulator to the output's integers, as each runtime does it.

Every quantized convolution or matrix product computes

    acc = sum((x_q - z_x) * (w_q - z_w)) + b_q,

and must then give ``y_q = z_y + round(acc * M)`` with the real multiplier ``M = s_x * s_w / s_y``,
clamped. Runtimes differ in two ways only, and a profile's entry names both, as
``rounding:multiplier``:

- how ``round(acc * M)`` is computed: S1 to S8 below;
- in which precision ``M`` is made: ``double``, ``product`` or ``single``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.fixed_point import (
    Int64,
    doubling_high_mul,
    round_half_away,
    saturate_int16,
    shift_left_int32,
    shift_right_ties_away,
    shift_right_ties_up,
    to_int64,
    wrap_int32,
)

Real = npt.NDArray[Any]
"""A float32 or float64 array; which one is part of the definition."""


@dataclass(frozen=True)
class Requantization:
    """What turns accumulators into output integers.

    Attributes:
        rounding: ``S1`` … ``S8``, a key of `ROUNDINGS`.
        multiplier: one per tensor (shape ``(1,)``) or one per channel, along the accumulator's last
            axis. int64 for fixed point, float64 (S4) or float32 (S5).
        shift: of the same length, zeros for S4 and S5. S6: positive to the right. Else to the left.
        zero_point: of the output.
        low, high: inclusive clamp of the output, fused activation included.
    """

    rounding: str
    multiplier: npt.NDArray[Any]
    shift: Int64
    zero_point: int
    low: int
    high: int


# How the real multiplier is made -----------------------------------------------------------------


def double_multiplier(
    s_x: np.float32, s_w: npt.NDArray[np.float32], s_y: np.float32
) -> npt.NDArray[np.float64]:
    """``double(s_x) * double(s_w) / double(s_y)``.

    Source: LiteRT kernels/kernel_util.cc, PopulateConvolutionQuantizationParams (per channel).
    """
    product = np.float64(s_x) * s_w.astype(np.float64)
    return np.asarray(product / np.float64(s_y))


def product_multiplier(
    s_x: np.float32, s_w: npt.NDArray[np.float32], s_y: np.float32
) -> npt.NDArray[np.float64]:
    """``double(float(s_x * s_w)) / double(s_y)``: the product is rounded to float32.

    Source: LiteRT kernels/kernel_util.cc, GetQuantizedConvolutionMultipler.
    """
    product = (s_x * s_w).astype(np.float32)
    return np.asarray(product.astype(np.float64) / np.float64(s_y))


def single_multiplier(
    s_x: np.float32, s_w: npt.NDArray[np.float32], s_y: np.float32
) -> npt.NDArray[np.float32]:
    """``s_x * s_w / s_y``, rounded to float32 after each step.

    Source: XNNPACK src/operators/convolution-nhwc.c and fully-connected-nc.c, create functions.
    """
    product = (s_x * s_w).astype(np.float32)
    return np.asarray(product / np.float32(s_y), dtype=np.float32)


MULTIPLIERS: dict[str, Callable[[np.float32, npt.NDArray[np.float32], np.float32], Real]] = {
    "double": double_multiplier,
    "product": product_multiplier,
    "single": single_multiplier,
}


# From the real multiplier to its fixed-point form ------------------------------------------------


def quantize_multiplier(real: Real) -> tuple[Int64, Int64]:
    """``real = multiplier * 2^(shift - 31)`` with multiplier in [2^30, 2^31), rounded half away.

    A real multiplier below 2^-32 becomes 0. Domain: finite and >= 0.

    Source: LiteRT kernels/internal/quantization_util.cc, QuantizeMultiplier.

    Returns:
        (multiplier, shift); a positive shift is to the left.
    """
    fraction, exponent = np.frexp(real.astype(np.float64))
    multiplier = round_half_away(fraction * 2.0**31).astype(np.int64)
    shift = exponent.astype(np.int64)
    overflow = multiplier == 1 << 31
    multiplier = np.where(overflow, multiplier >> 1, multiplier)
    shift = np.where(overflow, shift + 1, shift)
    vanishes = shift < -31
    return np.where(vanishes, 0, multiplier), np.where(vanishes, 0, shift)


def rndnu_multiplier(real: Real) -> tuple[Int64, Int64]:
    """``real = multiplier * 2^-shift``, multiplier the 24-bit mantissa of the float32: exact.

    Domain: float32 in [2^-32, 256), which XNNPACK enforces; shift is then in [16, 55].

    Source: XNNPACK src/microparams-init.c, xnn_init_qu8_conv_minmax_rndnu_scalar_params. The NEON
    form keeps the mantissa 7 bits higher and splits the shift; the result is the same.

    Returns:
        (multiplier, shift); the shift is to the right.
    """
    bits = to_int64(real.astype(np.float32).view(np.uint32))
    return (bits & 0x007FFFFF) | 0x00800000, 127 + 23 - (bits >> 23)


def rndnu16_multiplier(real: Real) -> tuple[Int64, Int64]:
    """``real ~ multiplier * 2^(shift - 15)``, multiplier the mantissa rounded to [2^14, 2^15).

    Domain: float32 in [2^-32, 256).

    Source: XNNPACK src/microparams-init.c, xnn_init_qu8_conv_minmax_rndnu16_scalar_params.

    Returns:
        (multiplier, shift); the shift is applied to the accumulator first, positive to the left.
    """
    bits = to_int64(real.astype(np.float32).view(np.uint32))
    mantissa = (bits & 0x007FFFFF) | 0x00800000
    multiplier = shift_right_ties_up(mantissa, to_int64(9))
    exponent = (bits >> 23) - 127
    overflow = multiplier == 1 << 15
    multiplier = np.where(overflow, 1 << 14, multiplier)
    return multiplier, np.where(overflow, exponent + 1, exponent) + 1


# The roundings: round(acc * M), before zero point and clamp --------------------------------------


def round_s1(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S1, double rounding: doubling high product (ties up), then shift (ties away from zero).

    Source: LiteRT kernels/internal/common.cc, MultiplyByQuantizedMultiplier(int32_t, …) without
    TFLITE_SINGLE_ROUNDING. A left shift that overflows int32 wraps, and shifts that C++ leaves
    undefined are those of the registers (`fixed_point`).
    """
    high = doubling_high_mul(shift_left_int32(acc, np.maximum(shift, 0)), multiplier)
    return shift_right_ties_away(high, np.maximum(-shift, 0))


def round_s2(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S2, double rounding: doubling high product (ties up), then shift (ties up).

    Source: LiteRT kernels/internal/common.h, MultiplyByQuantizedMultiplier4Rows (SQRDMULH, SRSHL);
    ruy kernel_avx512.cc and kernel_avx2_fma.cc. A left shift that overflows int32 wraps; vectors
    shifted by more than 31 are 0.
    """
    left = shift_left_int32(acc, np.maximum(shift, 0))
    high = doubling_high_mul(np.where(shift > 31, 0, left), multiplier)
    return shift_right_ties_up(high, np.maximum(-shift, 0))


def round_s3(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S3, single rounding, ties up: ``floor(acc * multiplier / 2^(31 - shift) + 1/2)``.

    Source: ruy apply_multiplier.cc, MultiplyByQuantizedMultiplier; kernel_arm64.cc (SQDMULH,
    SRSHL), which is the same for shift < 0. Domain: shift <= 7.
    """
    return shift_right_ties_up(acc * multiplier, 31 - shift)


def round_s4(acc: Int64, multiplier: npt.NDArray[Any], _shift: Int64) -> Int64:
    """S4: ``round(double(acc) * multiplier)``, ties away from zero, multiplier float64.

    Source: LiteRT kernels/internal/reference/integer_ops/fully_connected.h, the overload that
    takes a float scale.
    """
    return round_half_away(acc.astype(np.float64) * multiplier).astype(np.int64)


def round_s5(acc: Int64, multiplier: npt.NDArray[Any], _shift: Int64) -> Int64:
    """S5: ``rint(float(acc) * multiplier)``, ties to even, both roundings in float32.

    Source: XNNPACK src/xnnpack/requantization.h, xnn_qs8_requantize_fp32; on x86 CVTDQ2PS, MULPS,
    CVTPS2DQ; on Arm SCVTF, FMUL, FCVTNS.
    """
    return to_int64(np.rint(acc.astype(np.float32) * multiplier))


def round_s6(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S6, rndnu: ``floor(acc * multiplier / 2^shift + 1/2)`` with a 24-bit multiplier.

    Source: XNNPACK src/xnnpack/requantization.h, xnn_qu8_requantize_rndnu.
    """
    return shift_right_ties_up(acc * multiplier, shift)


def round_s7(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S7, rndnu16: shift and saturate to 16 bits, then ``(x * multiplier + 2^14) >> 15``.

    The shift saturates to int32 when to the left and rounds ties up when to the right.

    Source: XNNPACK src/xnnpack/requantization.h, xnn_qu8_requantize_rndnu16; in the kernels SQRSHL,
    SQXTN, SQRDMULH.
    """
    left = acc << np.maximum(shift, 0)
    x = saturate_int16(shift_right_ties_up(left, np.maximum(-shift, 0)))
    return to_int64((x * multiplier + (1 << 14)) >> 15)


def round_s8(acc: Int64, multiplier: npt.NDArray[Any], shift: Int64) -> Int64:
    """S8, int64 accumulators: ``floor(acc * m / 2^(15 - shift) + 1/2)``, a 15-bit multiplier.

    ``m = (multiplier + 2^15) >> 16``, at most 0x7FFF. Domain: |acc| < 2^47, shift in -31..7.

    Source: LiteRT kernels/internal/common.cc, MultiplyByQuantizedMultiplier(int64_t, …).
    """
    reduced = np.minimum((multiplier + (1 << 15)) >> 16, 0x7FFF)
    return wrap_int32(shift_right_ties_up(acc * reduced, 15 - shift))


@dataclass(frozen=True)
class Rounding:
    """One of S1 to S8: how its multiplier is stored, and the rounding itself."""

    encode: Callable[[Real], tuple[npt.NDArray[Any], Int64]]
    apply: Callable[[Int64, npt.NDArray[Any], Int64], Int64]


def _as_double(real: Real) -> tuple[npt.NDArray[Any], Int64]:
    return real.astype(np.float64), np.zeros(real.shape, np.int64)


def _as_single(real: Real) -> tuple[npt.NDArray[Any], Int64]:
    return real.astype(np.float32), np.zeros(real.shape, np.int64)


ROUNDINGS: dict[str, Rounding] = {
    "S1": Rounding(quantize_multiplier, round_s1),
    "S2": Rounding(quantize_multiplier, round_s2),
    "S3": Rounding(quantize_multiplier, round_s3),
    "S4": Rounding(_as_double, round_s4),
    "S5": Rounding(_as_single, round_s5),
    "S6": Rounding(rndnu_multiplier, round_s6),
    "S7": Rounding(rndnu16_multiplier, round_s7),
    "S8": Rounding(quantize_multiplier, round_s8),
}


def make_requantization(
    semantics: str,
    scales: tuple[float, npt.ArrayLike, float],
    zero_point: int,
    clamp: tuple[int, int],
) -> Requantization:
    """The parameters of one node.

    Args:
        semantics: ``rounding:multiplier``, e.g. ``S1:double``.
        scales: of input, weights (one or one per channel) and output, each a float32 value.
        zero_point: of the output.
        clamp: lowest and highest output value.
    """
    rounding, _, precision = semantics.partition(":")
    s_x, s_w, s_y = scales
    weights = np.atleast_1d(np.asarray(s_w, np.float32))
    real = MULTIPLIERS[precision](np.float32(s_x), weights, np.float32(s_y))
    multiplier, shift = ROUNDINGS[rounding].encode(real)
    return Requantization(rounding, multiplier, shift, zero_point, *clamp)


def requantize(acc: npt.NDArray[Any], parameters: Requantization) -> Int64:
    """Output integers of int32 accumulators; channels along the last axis.

    ``clip(round(acc * M) + zero_point, low, high)``. Runtimes that clamp or saturate in between
    (XNNPACK clamps the float before it rounds) give the same, for every step is monotone.
    """
    rounding = ROUNDINGS[parameters.rounding]
    rounded = rounding.apply(to_int64(acc), parameters.multiplier, parameters.shift)
    return to_int64(np.clip(rounded + parameters.zero_point, parameters.low, parameters.high))
