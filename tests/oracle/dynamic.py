"""Rows quantized at run time, exact, one value at a time, in fractions; see harness.arithmetic.

`f32` is the only rounding to float32 there is; where a runtime computes in double, so does `f64`.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

Row = tuple[list[int], Fraction, int]
"""Values, scale, zero point."""


def _to_nearest(x: Fraction, digits: int) -> Fraction:
    """The nearest number of that many binary digits, ties to even; no limit to the exponent."""
    if x == 0:
        return x
    exponent = math.floor(math.log2(abs(x)))
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (exponent + 1 - digits)
    return round(x / unit) * unit


def f32(x: Fraction) -> Fraction:
    return _to_nearest(x, 24)


def f64(x: Fraction) -> Fraction:
    return _to_nearest(x, 53)


def half_away(x: Fraction) -> int:
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x))


def half_added(x: Fraction) -> int:
    """A half is added in float32, then the fraction is cut off."""
    return math.trunc(f32(x + Fraction(1, 2) if x >= 0 else x - Fraction(1, 2)))


def _clip(x: int, low: int, high: int) -> int:
    return max(low, min(high, x))


def qd8(row: Sequence[Fraction], *, ties: Callable[[Fraction], int] = round) -> Row:
    """XNNPACK src/xnnpack/quantization.h; `ties` of the values: to even, or as KleidiAI away."""
    low, high = min(0, *row), max(0, *row)
    factor = Fraction(1) if low == high else f32(255 / f32(Fraction(high - low)))
    below, above = f32(low * factor), f32(high * factor)
    choose_low = f32(f32(below - 128) + f32(above + 127)) > 0
    zero = round(_clip_real(f32(-128 - below) if choose_low else f32(127 - above)))
    return [_clip(ties(f32(x * factor)) + zero, -128, 127) for x in row], f32(1 / factor), zero


def _clip_real(x: Fraction) -> Fraction:
    return max(Fraction(-128), min(Fraction(127), x))


def symmetric(row: Sequence[Fraction], *, lanes: bool) -> Row:
    """LiteRT NeonSymmetricQuantizeFloats; `lanes`: as x86 rounds whole blocks of 8."""
    largest = max(abs(x) for x in row)
    if not largest:
        return [0] * len(row), Fraction(1), 0
    factor = f32(127 / largest)
    values = [_rounded(f32(x * factor), i, len(row), lanes) for i, x in enumerate(row)]
    return [_clip(v, -127, 127) for v in values], f32(largest / 127), 0


def asymmetric(row: Sequence[Fraction], *, lanes: bool) -> Row:
    """LiteRT NeonAsymmetricQuantizeFloats."""
    low, high = Fraction(min(0, *row)), Fraction(max(0, *row))
    if low == high:
        return [0] * len(row), Fraction(1), 0
    step = f64(f32(high - low) / 255)
    below, above = f64(low / step), f64(high / step)
    from_low = f64(128 + abs(below)) < f64(127 + abs(above))
    zero = f64(-128 - below if from_low else 127 - above)
    zero_point = _clip(half_away(zero), -128, 127)
    factor = f32(1 / f32(step))
    values = [_rounded(f32(x * factor), i, len(row), lanes) for i, x in enumerate(row)]
    return [_clip(v + zero_point, -128, 127) for v in values], f32(step), zero_point


def _rounded(x: Fraction, place: int, length: int, lanes: bool) -> int:
    return half_added(x) if lanes and place < length // 8 * 8 else half_away(x)
