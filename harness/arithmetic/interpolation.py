"""Functions of int16 tensors: tables of 513 values with straight lines between them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.fixed_point import Int64, round_half_away, to_int64, wrap_int16
from harness.arithmetic.float_steps import fused_multiply_add

Real = npt.NDArray[Any]
Function = Callable[[Real], Real]

_STEPS = 512
_LOW, _HIGH = -(1 << 15), (1 << 15) - 1


def interpolation_table(
    function: Function,
    s_x: np.floating[Any],
    z_x: int,
    s_y: np.floating[Any],
    z_y: int,
    *,
    fused: bool = False,
) -> Int64:
    """513 values of ``f(s_x x) / s_y`` at every 128th x, each moved by half the error that a
    straight line to the next one has in the middle.

    All in the float type of the scales, ties away from zero; "fused" where the compiler rounds a
    product and its sum once (aarch64; float32 only).

    Source: LiteRT kernels/internal/common.h, LUTPopulateInt16.
    """
    kind = s_x.dtype.type

    def multiply_add(a: Real, b: Real, c: Real) -> Real:
        if fused:
            return fused_multiply_add(a, np.broadcast_to(b, a.shape), np.broadcast_to(c, a.shape))
        return np.asarray(a * b + c)

    low, high = (np.asarray(s_x * kind(end - z_x)) for end in (_LOW, _HIGH))
    first, last = (np.asarray(s_y * kind(end - z_y)) for end in (_LOW, _HIGH))
    step = np.asarray((high - low) / kind(_STEPS))
    inverse = np.asarray(kind(1 << 16) / (last - first))
    at = multiply_add(np.arange(_STEPS + 1).astype(kind), step, low)
    values = function(at)
    here = round_half_away(values[:-1] * inverse)
    line = round_half_away(multiply_add(values[1:], inverse, here) / kind(2))
    middle = round_half_away(function(at[:-1] + step / kind(2)) * inverse)
    bias = round_half_away((line - middle) / kind(2))
    end = round_half_away(function(np.atleast_1d(high)) * inverse)
    table = np.concatenate([here - bias, end])
    return to_int64(np.clip(table, _LOW, _HIGH))


def interpolate(x: Int64, table: Int64) -> Int64:
    """``t[i] + (((t[i + 1] - t[i]) o + 64) >> 7)``, ``x + 2^15 = 128 i + o``, in int16 registers.

    Source: LiteRT kernels/internal/common.h, LUTLookup for int16.
    """
    index, offset = (x >> 7) + 256, x & 127
    slope = wrap_int16(table[index + 1] - table[index])
    return wrap_int16(table[index] + ((slope * offset + 64) >> 7))
