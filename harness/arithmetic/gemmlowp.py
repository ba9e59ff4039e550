"""gemmlowp's fixed-point functions, as the reference softmax and logistic use them.

A value with `m` integer bits is an int32 that stands for ``raw / 2^(31 - m)``; called Qm here.
All arrays are int64 holding int32 values. Source: gemmlowp fixedpoint/fixedpoint.h.
"""

import numpy as np

from harness.arithmetic.fixed_point import (
    INT32_MAX,
    Int64,
    doubling_high_mul,
    shift_right_ties_away,
    to_int64,
)

_ONE_EIGHTH = 1 << 28
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
_ONE_IN_Q2 = 1 << 29
_ONE_IN_Q3 = 1 << 28
_THREE_HALVES_IN_Q3 = (1 << 28) + (1 << 27)
_HALF_SQRT_2 = 1518500250
_48_OVER_17 = 1515870810
_MINUS_32_OVER_17 = -1010580540


def rescale_to_more_integer_bits(x: Int64, bits: int) -> Int64:
    """From Qm to Q(m + bits): a right shift, ties away."""
    return shift_right_ties_away(x, to_int64(bits))


def rescale_to_fewer_integer_bits(x: Int64, bits: int) -> Int64:
    """From Qm to Q(m - bits): a left shift that saturates."""
    return to_int64(np.clip(x << bits, -INT32_MAX - 1, INT32_MAX))


def exp_minus_quarter_to_zero(a: Int64) -> Int64:
    """``exp(a)`` for a in [-1/4, 0), Q0 to Q0: a Taylor polynomial of degree 4 around -1/8.

    Source: exp_on_interval_between_negative_one_quarter_and_0_excl.
    """
    x = a + _ONE_EIGHTH
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4_over_4 = shift_right_ties_away(doubling_high_mul(x2, x2), to_int64(2))
    inner = doubling_high_mul(x4_over_4 + x3, to_int64(_ONE_THIRD)) + x2
    series = x + shift_right_ties_away(inner, to_int64(1))
    return _EXP_MINUS_ONE_EIGHTH + doubling_high_mul(series, to_int64(_EXP_MINUS_ONE_EIGHTH))


def exp_of_negative(a: Int64, integer_bits: int) -> Int64:
    """``exp(a)`` for a <= 0 in Q(integer_bits), to Q0. Domain: integer_bits <= 5.

    The last quarter goes through the polynomial, the rest through a product of powers.

    Source: exp_on_negative_values.
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    last = (a & (quarter - 1)) - quarter
    result = exp_minus_quarter_to_zero(rescale_to_fewer_integer_bits(last, integer_bits))
    remainder = last - a
    for power, factor in _EXP_MINUS_POWERS:
        if integer_bits > power:
            present = (remainder >> (fraction_bits + power)) & 1
            result = np.where(present, doubling_high_mul(result, to_int64(factor)), result)
    return np.where(a == 0, INT32_MAX, result)


def _over_half_one_plus(a: Int64) -> Int64:
    """``2 / (1 + a)`` for a in [0, 1), Q0 to Q2: three Newton-Raphson steps."""
    half_denominator = (a + INT32_MAX + 1) >> 1
    x = _48_OVER_17 + doubling_high_mul(half_denominator, to_int64(_MINUS_32_OVER_17))
    for _ in range(3):
        error = _ONE_IN_Q2 - doubling_high_mul(half_denominator, x)
        x = x + rescale_to_fewer_integer_bits(doubling_high_mul(x, error), 2)
    return x


def one_over_one_plus(a: Int64) -> Int64:
    """``1 / (1 + a)`` for a in [0, 1), Q0 to Q0.

    Source: one_over_one_plus_x_for_x_in_0_1.
    """
    return rescale_to_fewer_integer_bits(_over_half_one_plus(a), 1)


def one_minus_over_one_plus(a: Int64) -> Int64:
    """``(1 - a) / (1 + a)`` for a in [0, 1), Q0 to Q0.

    Source: one_minus_x_over_one_plus_x_for_x_in_0_1.
    """
    return rescale_to_fewer_integer_bits(_over_half_one_plus(a) - _ONE_IN_Q2, 2)


def logistic(a: Int64, integer_bits: int) -> Int64:
    """``1 / (1 + exp(-a))`` for a in Q(integer_bits), to Q0. Domain: integer_bits <= 5.

    Source: logistic.
    """
    positive = one_over_one_plus(exp_of_negative(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(a: Int64, integer_bits: int) -> Int64:
    """``tanh(a)`` for a in Q(integer_bits), to Q0. Domain: integer_bits <= 4.

    Source: tanh.
    """
    positive = one_minus_over_one_plus(exp_of_negative(-np.abs(a), integer_bits + 1))
    return to_int64(np.sign(a) * positive)


def reciprocal(x: Int64, integer_bits: int) -> tuple[Int64, Int64]:
    """``1 / x`` for x > 0 in Q(integer_bits): (Q0 value, how many bits to shift it right).

    Source: LiteRT kernels/internal/common.h, GetReciprocal.
    """
    headroom = 32 - (np.frexp(x.astype(np.float64))[1].astype(np.int64))
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
