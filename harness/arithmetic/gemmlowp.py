"""gemmlowp's fixed-point functions, as softmax, logistic and LSTM cells use them.

A value with `m` integer bits is an int32 that stands for ``raw / 2^(31 - m)``, or an int16 that
stands for ``raw / 2^(15 - m)``; called Qm here. `width` says which: 32 or 16. All arrays are int64
holding such values. Source: gemmlowp fixedpoint/fixedpoint.h.
"""

from typing import Literal

import numpy as np

from harness.arithmetic.fixed_point import (
    INT32_MAX,
    Int64,
    doubling_high_mul,
    doubling_high_mul_int16,
    shift_right_ties_away,
    to_int64,
)

Width = Literal[16, 32]

_EXP_MINUS_ONE_EIGHTH = 1895147668
_ONE_THIRD = 715827883
_EXP_MINUS_POWERS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""(n, exp(-2^n) in Q0)."""
_ONE_IN_Q3 = 1 << 28
_THREE_HALVES_IN_Q3 = (1 << 28) + (1 << 27)
_HALF_SQRT_2 = 1518500250
_48_OVER_17 = 1515870810
_MINUS_32_OVER_17 = -1010580540
_LOG_2 = 1488522236
_SQRT_HALF = 1518500250
_SQRT_SQRT_HALF = 1805811301
_LOG_ALPHAS = {"n": 117049297, "d": 127690142, "i": 1057819769, "f": 638450708}
"""Coefficients of the rational function that approximates the logarithm, in Q0."""


def _constant(raw: int, width: Width) -> Int64:
    """A 32-bit constant in that width, rounded.

    Source: RescaleConstantInitializer.
    """
    return shift_right_ties_away(to_int64(raw), to_int64(32 - width))


def _product(a: Int64, b: Int64, width: Width) -> Int64:
    return doubling_high_mul(a, b) if width == 32 else doubling_high_mul_int16(a, b)


def _largest(width: Width) -> int:
    return (1 << (width - 1)) - 1


def rescale_to_more_integer_bits(x: Int64, bits: int) -> Int64:
    """From Qm to Q(m + bits): a right shift, ties away."""
    return shift_right_ties_away(x, to_int64(bits))


def rescale_to_fewer_integer_bits(x: Int64, bits: int, width: Width = 32) -> Int64:
    """From Qm to Q(m - bits): a left shift that saturates."""
    return to_int64(np.clip(x << bits, -_largest(width) - 1, _largest(width)))


def exp_minus_quarter_to_zero(a: Int64, width: Width = 32) -> Int64:
    """``exp(a)`` for a in [-1/4, 0), Q0 to Q0: a Taylor polynomial of degree 4 around -1/8.

    Source: exp_on_interval_between_negative_one_quarter_and_0_excl.
    """
    around = _constant(_EXP_MINUS_ONE_EIGHTH, width)
    x = a + (1 << (width - 4))
    x2 = _product(x, x, width)
    x3 = _product(x2, x, width)
    x4_over_4 = shift_right_ties_away(_product(x2, x2, width), to_int64(2))
    inner = _product(x4_over_4 + x3, _constant(_ONE_THIRD, width), width) + x2
    series = x + shift_right_ties_away(inner, to_int64(1))
    return around + _product(series, around, width)


def exp_of_negative(a: Int64, integer_bits: int, width: Width = 32) -> Int64:
    """``exp(a)`` for a <= 0 in Q(integer_bits), to Q0; 0 below -32.

    The last quarter goes through the polynomial, the rest through a product of powers.

    Source: exp_on_negative_values.
    """
    fraction_bits = width - 1 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    last = (a & (quarter - 1)) - quarter
    reduced = rescale_to_fewer_integer_bits(last, integer_bits, width)
    result = exp_minus_quarter_to_zero(reduced, width)
    remainder = last - a
    for power, factor in _EXP_MINUS_POWERS:
        if integer_bits > power:
            present = (remainder >> (fraction_bits + power)) & 1
            result = np.where(present, _product(result, _constant(factor, width), width), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (width + 4 - integer_bits)), 0, result)
    return np.where(a == 0, _largest(width), result)


def _newton_reciprocal(a: Int64, width: Width) -> Int64:
    """``2 / (1 + a)`` for a in [0, 1) in Q0, to Q2: three Newton-Raphson steps."""
    half_denominator = (a + _largest(width) + 1) >> 1
    slope = _product(half_denominator, _constant(_MINUS_32_OVER_17, width), width)
    x = _constant(_48_OVER_17, width) + slope
    for _ in range(3):
        error = (1 << (width - 3)) - _product(half_denominator, x, width)
        x = x + rescale_to_fewer_integer_bits(_product(x, error, width), 2, width)
    return x


def one_over_one_plus(a: Int64, width: Width = 32) -> Int64:
    """``1 / (1 + a)`` for a in [0, 1), Q0 to Q0.

    Source: one_over_one_plus_x_for_x_in_0_1.
    """
    return rescale_to_fewer_integer_bits(_newton_reciprocal(a, width), 1, width)


def logistic(a: Int64, integer_bits: int, width: Width = 32) -> Int64:
    """``1 / (1 + exp(-a))`` in Q(integer_bits), to Q0.

    Source: logistic.
    """
    exp = exp_of_negative(-np.abs(a), integer_bits, width)
    positive = one_over_one_plus(exp, width)
    y = np.where(a > 0, positive, _largest(width) - positive)
    return np.where(a == 0, 1 << (width - 2), y)


def tanh(a: Int64, integer_bits: int, width: Width = 32) -> Int64:
    """``(1 - exp(-2 |a|)) / (1 + exp(-2 |a|))`` with the sign of a in Q(integer_bits), to Q0.

    Source: tanh, neg_tanh_on_negative_values, one_minus_x_over_one_plus_x_for_x_in_0_1. The
    lowest value of an int16 negates to itself there and stays negative, as here.
    """
    exp = exp_of_negative(-np.abs(a), integer_bits + 1, width)
    above_one = _newton_reciprocal(exp, width) - (1 << (width - 3))
    size = rescale_to_fewer_integer_bits(above_one, 2, width)
    return np.where(a == 0, 0, np.where(a < 0, -size, size))


def log_of_at_least_one(x: Int64, integer_bits: int, output_bits: int) -> Int64:
    """``ln(x)`` for x >= 1 in Q(integer_bits) of int32, to Q(output_bits).

    ``x = 2^n r`` with r around the fourth root of 1/2, where a rational function stands for ln r.

    Source: LiteRT kernels/internal/common.h, log_x_for_x_greater_than_or_equal_to_1_impl.
    """
    bits = output_bits + 1
    quarter = rescale_to_more_integer_bits(to_int64(1 << 29), bits)
    zeros = _leading_zeros(x)
    r_a = rescale_to_fewer_integer_bits(
        doubling_high_mul(x << (zeros - 1), to_int64(_SQRT_HALF)), 1
    )
    power_a = _saturate((integer_bits - zeros << (31 - bits)) + quarter)
    z_b = doubling_high_mul(x, to_int64(_SQRT_HALF))
    headroom = _leading_zeros(z_b) - 1
    r_b = _saturate(x << headroom)
    power_b = _saturate((integer_bits - headroom << (31 - bits)) - quarter)
    r = np.minimum(r_a, r_b)
    power = np.maximum(power_a, power_b)

    alpha = {name: to_int64(raw) for name, raw in _LOG_ALPHAS.items()}
    p = (r + _SQRT_SQRT_HALF + 1) >> 1
    q = 2 * (r - _SQRT_SQRT_HALF)
    square = doubling_high_mul(q, q)
    above = doubling_high_mul(q, r) + doubling_high_mul(doubling_high_mul(q, square), alpha["n"])
    inner = alpha["i"] + q + doubling_high_mul(alpha["d"], square)
    below = doubling_high_mul(p, inner) + doubling_high_mul(alpha["f"], q)
    scaled = rescale_to_more_integer_bits(above, bits)
    whole = doubling_high_mul(power, to_int64(_LOG_2))
    total = whole + doubling_high_mul(scaled, one_over_one_plus(below))
    return rescale_to_fewer_integer_bits(total, 1)


def _leading_zeros(x: Int64) -> Int64:
    """Of a 32-bit register; x > 0."""
    return to_int64(32 - np.frexp(x.astype(np.float64))[1])


def _saturate(x: Int64) -> Int64:
    return to_int64(np.clip(x, -INT32_MAX - 1, INT32_MAX))


def reciprocal(x: Int64, integer_bits: int) -> tuple[Int64, Int64]:
    """``1 / x`` for x > 0 in Q(integer_bits): (Q0 value, how many bits to shift it right).

    Source: LiteRT kernels/internal/common.h, GetReciprocal.
    """
    headroom = _leading_zeros(x)
    shifted_minus_one = ((x << headroom) & 0xFFFFFFFF) - (1 << 31)
    return one_over_one_plus(shifted_minus_one), integer_bits - headroom


def inverse_square_root(x: Int64) -> tuple[Int64, Int64]:
    """``1 / sqrt(x)`` as (Q0 value, how many bits to shift it right); 0 counts as 1.

    x is brought to [2^27, 2^29) in steps of 4, then five Newton-Raphson steps in Q3 from 1, and a
    factor of ``sqrt(1/2)``. Domain: 0 <= x < 2^31.

    Source: LiteRT kernels/internal/common.h, GetInvSqrtQuantizedMultiplierExp.
    """
    large = x >= 1 << 29
    pairs = (31 - np.frexp(x.astype(np.float64))[1].astype(np.int64)) // 2 - 1
    scaled = np.where(large, x >> 2, x << 2 * np.maximum(pairs, 0))
    right = np.where(large, 12, 11 - np.maximum(pairs, 0))
    a = scaled >> 1
    half_a = shift_right_ties_away(a, to_int64(1))
    y = np.full_like(x, _ONE_IN_Q3)
    for _ in range(5):
        cube = rescale_to_fewer_integer_bits(doubling_high_mul(doubling_high_mul(y, y), y), 6)
        step = doubling_high_mul(to_int64(_THREE_HALVES_IN_Q3), y) - doubling_high_mul(half_a, cube)
        y = rescale_to_fewer_integer_bits(step, 3)
    y = doubling_high_mul(y, to_int64(_HALF_SQRT_2))
    y = y << np.maximum(-right, 0)
    one = x <= 1
    return np.where(one, INT32_MAX, y), np.where(one, 0, np.maximum(right, 0))
