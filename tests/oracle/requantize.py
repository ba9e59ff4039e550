"""Requantization S1 to S7, exact, one accumulator at a time, in plain Python integers.

The names are those of docs/numerics.md. Every function takes the accumulator and the real
multiplier as the runtime has it before it makes a fixed-point number of it (a double, or a float32
for the XNNPACK ones), and returns the integer before the output's zero point is added and clamped.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

INT32 = 1 << 31


def _wrap32(x: int) -> int:
    """C's int32 after a shift that overflows: two's complement."""
    return (x + INT32) % (2 * INT32) - INT32


def _saturate(x: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, x))


def _floor_half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def _half_away(x: Fraction) -> int:
    return _floor_half_up(x) if x >= 0 else -_floor_half_up(-x)


def _half_even(x: Fraction) -> int:
    return round(x)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(Q31 multiplier, exponent) of a double: tflite quantization_util.cc, QuantizeMultiplier."""
    if real == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    q31 = _half_away(Fraction(fraction) * INT32)
    if q31 == INT32:
        q31, exponent = q31 // 2, exponent + 1
    return (0, 0) if exponent < -31 else (q31, exponent)


def _high_mul(acc: int, real: float) -> tuple[int, int]:
    """First rounding of S1 and S2: (acc << left) * q31 / 2^31, ties up; and the shift that is
    left to do. Saturates only at acc = q31 = -2^31, which no multiplier reaches."""
    q31, exponent = quantize_multiplier(real)
    shifted = _wrap32(acc << max(exponent, 0))
    return _floor_half_up(Fraction(shifted * q31, INT32)), max(-exponent, 0)


def s1(acc: int, real: float) -> int:
    """Two roundings, the second with ties away from zero: tflite internal/common.cc,
    MultiplyByQuantizedMultiplier; gemmlowp fixedpoint.h, RoundingDivideByPOT."""
    high, shift = _high_mul(acc, real)
    return _half_away(Fraction(high, 1 << shift))


def s2(acc: int, real: float) -> int:
    """Two roundings, both with ties up: ruy kernel_avx2_fma.cc (rounding_right_shift); Arm
    SQRDMULH then SRSHL, tflite internal/common.h, MultiplyByQuantizedMultiplier4Rows."""
    high, shift = _high_mul(acc, real)
    return _floor_half_up(Fraction(high, 1 << shift))


def s3(acc: int, real: float) -> int:
    """One rounding, ties up: ruy apply_multiplier.cc; SQDMULH then SRSHL in kernel_arm64.cc."""
    q31, exponent = quantize_multiplier(real)
    return _floor_half_up(Fraction(acc * q31) * Fraction(2) ** (exponent - 31))


def s4(acc: int, real: float) -> int:
    """round(double(acc) * double): tflite reference integer_ops/fully_connected.h, the overload
    that takes float scales. The product is rounded to a double first; ties go away from zero."""
    return _half_away(Fraction(float(acc) * real))


def s5(acc: int, real: float) -> int:
    """float32(acc) * float32, ties to even: XNNPACK qs8-qc8w-gemm, avx2 (CVTPS2DQ) and neonv8
    (FCVTNS). Conversion and product are each rounded to float32."""
    product = np.float32(acc) * np.float32(real)
    return _half_even(Fraction(float(product)))


def s6(acc: int, real: float) -> int:
    """rndnu: 24-bit mantissa of the float32 scale, one rounding, ties up: XNNPACK
    microparams-init.c, xnn_init_qu8_conv_minmax_rndnu_scalar_params."""
    return _floor_half_up(acc * Fraction(float(np.float32(real))))


def s7(acc: int, real: float) -> int:
    """rndnu16: 15-bit multiplier of the float32 scale: XNNPACK microparams-init.c,
    xnn_init_qu8_conv_minmax_rndnu16_scalar_params; SQRSHL, SQXTN, SQRDMULH in
    qs8-gemm/neon-mlal-lane.c.in."""
    fraction, shift = math.frexp(float(np.float32(real)))
    q15 = _floor_half_up(Fraction(fraction) * (1 << 15))
    if q15 == 1 << 15:
        q15, shift = 1 << 14, shift + 1
    shifted = _saturate(_floor_half_up(acc * Fraction(2) ** shift), 32)
    narrow = _saturate(shifted, 16)
    return _saturate(_floor_half_up(Fraction(narrow * q15, 1 << 15)), 16)


SEMANTICS: dict[str, Callable[[int, float], int]] = {
    "S1": s1,
    "S2": s2,
    "S3": s3,
    "S4": s4,
    "S5": s5,
    "S6": s6,
    "S7": s7,
}
