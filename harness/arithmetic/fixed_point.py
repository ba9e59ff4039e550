"""The integer primitives that every runtime's requantization is made of.

All functions take and return int64 arrays that hold int32 values, so that nothing inside can
overflow; where a runtime works in 32-bit registers and would wrap, the function wraps too and says
so.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

INT32_MAX = (1 << 31) - 1


def wrap_int32(x: Int64) -> Int64:
    """The value that a 32-bit register keeps: ``x mod 2^32``, in two's complement."""
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def wrap_int16(x: Int64) -> Int64:
    """The value that a 16-bit register keeps: ``x mod 2^16``, in two's complement."""
    return ((x + (1 << 15)) & 0xFFFF) - (1 << 15)


def saturate_int16(x: Int64) -> Int64:
    """The nearest int16 value."""
    return to_int64(np.clip(x, -(1 << 15), (1 << 15) - 1))


def shift_left_int32(x: Int64, shift: Int64) -> Int64:
    """``x * 2^shift`` in a 32-bit register: wraps. `shift` >= 0.

    A shift by more than 31 is one by the rest modulo 32, as x86-64 and aarch64 shift a register;
    C++ leaves it undefined.
    """
    return wrap_int32(x << (shift & 31))


def doubling_high_mul(x: Int64, multiplier: Int64) -> Int64:
    """``round(x * multiplier / 2^31)``, ties up; the one overflow, (-2^31)^2, saturates.

    Equals gemmlowp's SaturatingRoundingDoublingHighMul (fixedpoint/fixedpoint.h), whose truncating
    division with a sign-dependent nudge comes to the same, and the instruction SQRDMULH.

    Args:
        x, multiplier: int32 values.
    """
    return to_int64(np.minimum((x * multiplier + (1 << 30)) >> 31, INT32_MAX))


def doubling_high_mul_int16(x: Int64, multiplier: Int64) -> Int64:
    """``round(x * multiplier / 2^15)``, ties up; the one overflow, (-2^15)^2, saturates.

    Equals gemmlowp's SaturatingRoundingDoublingHighMul for int16, and the instruction SQRDMULH.

    Args:
        x, multiplier: int16 values.
    """
    return to_int64(np.minimum((x * multiplier + (1 << 14)) >> 15, (1 << 15) - 1))


def shift_right_ties_away(x: Int64, shift: Int64) -> Int64:
    """``round(x / 2^shift)``, ties away from zero.

    Equals gemmlowp's RoundingDivideByPOT (fixedpoint/fixedpoint.h). Outside 0..31, which C++
    leaves undefined, it is what x86-64 and aarch64 make of that code: the 64-bit mask is shifted
    modulo 64 and cut to 32 bits, the 32-bit x is shifted modulo 32.

    Args:
        x: int32 values; any int64 where `shift` is in 0..31.
        shift: to the right.
    """
    mask = (np.int64(1) << (shift & 63)) - 1
    mask = np.where((shift & 63) > 31, -1, mask)
    threshold = (mask >> 1) + (x < 0)
    return (x >> (shift & 31)) + ((x & mask) > threshold)


def shift_right_ties_up(x: Int64, shift: Int64) -> Int64:
    """``floor(x / 2^shift + 1/2)``: ties towards plus infinity. `shift` in 0..62.

    Equals the instruction SRSHL with a negative shift, and ``(x + (1 << (shift - 1))) >> shift``.
    `x` is any int64 for which the sum does not overflow.
    """
    half = (np.int64(1) << shift) >> 1
    return (x + half) >> shift


def to_int64(x: npt.ArrayLike) -> Int64:
    """An integer array of any width as int64."""
    return np.asarray(x, dtype=np.int64)


def round_half_away(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Round to the nearest integer, ties away from zero, in the float type of `x`.

    Equals C's ``std::round`` (TfLiteRound): the fraction ``|x| - floor(|x|)`` is exact, so no
    double rounding hides in an added half.
    """
    magnitude = np.abs(x)
    whole = np.floor(magnitude)
    rounded = whole + (magnitude - whole >= 0.5)
    return np.asarray(np.copysign(rounded, x), dtype=x.dtype)
