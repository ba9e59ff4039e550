"""The numpy definitions of S1 to S8 against exact arithmetic on Python integers and fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.arithmetic.requantize import (
    MULTIPLIERS,
    ROUNDINGS,
    make_requantization,
    requantize,
    round_s8,
)
from tests.oracle import requantize as oracle

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
DYADIC = [2.0**-k for k in range(32)] + [3 * 2.0**-k for k in range(2, 30)]
SINGLE = {"S5", "S6", "S7"}
NAMES = sorted(oracle.SEMANTICS)


def rounded(name: str, acc: list[int], real: float) -> list[int]:
    dtype = np.float32 if name in SINGLE else np.float64
    multiplier, shift = ROUNDINGS[name].encode(np.asarray([real], dtype))
    return ROUNDINGS[name].apply(np.asarray(acc, np.int64), multiplier, shift).tolist()


def around_ties(real: float) -> list[int]:
    """Accumulators at and beside those that fall half way between two outputs."""
    ties = {int(Fraction(2 * half + 1, 2) / Fraction(real)) for half in range(-130, 130)}
    near = {tie + step for tie in ties for step in (-1, 0, 1)}
    edges = {0, 1, -1, INT32_MAX, INT32_MAX - 1, INT32_MIN, INT32_MIN + 1, 1 << 24, (1 << 24) + 1}
    return sorted(a for a in near | edges if INT32_MIN <= a <= INT32_MAX)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("real", DYADIC)
def test_dyadic_multipliers_at_every_tie(name: str, real: float) -> None:
    acc = around_ties(real)
    if name in {"S3", "S4", "S5", "S6"} or real < 1:
        assert rounded(name, acc, real) == [oracle.SEMANTICS[name](a, real) for a in acc]


@pytest.mark.parametrize("name", NAMES)
@given(
    acc=st.lists(st.integers(INT32_MIN, INT32_MAX), min_size=1, max_size=20),
    real=st.floats(2.0**-31, 1, exclude_max=True, width=32),
)
@example(acc=[1 << 30, -(1 << 30), 3, -3], real=0.5)
def test_any_multiplier(name: str, acc: list[int], real: float) -> None:
    tie = [int(Fraction(2 * k + 1, 2) / Fraction(real)) for k in (-3, -1, 0, 2)]
    acc = [*acc, *(a for a in tie if INT32_MIN <= a <= INT32_MAX)]
    assert rounded(name, acc, real) == [oracle.SEMANTICS[name](a, real) for a in acc]


@pytest.mark.parametrize("name", ["S1", "S2"])
@given(acc=st.integers(INT32_MIN, INT32_MAX), real=st.floats(1, 200))
def test_a_left_shift_wraps_as_the_register_does(name: str, acc: int, real: float) -> None:
    assert rounded(name, [acc], real) == [oracle.SEMANTICS[name](acc, real)]


@given(acc=st.integers(-(1 << 47) + 1, (1 << 47) - 1), real=st.floats(2.0**-31, 2.0**-16))
def test_s8_is_one_rounding_with_a_15_bit_multiplier(acc: int, real: float) -> None:
    q31, exponent = oracle.quantize_multiplier(real)
    q15 = min((q31 + (1 << 15)) >> 16, 0x7FFF)
    expected = math.floor(Fraction(acc * q15) * Fraction(2) ** (exponent - 15) + Fraction(1, 2))
    multiplier, shift = ROUNDINGS["S8"].encode(np.asarray([real]))
    assert round_s8(np.asarray([acc]), multiplier, shift).tolist() == [expected]


def test_the_roundings_differ_where_they_should() -> None:
    """At -3/4 and -1/2 of a step: who rounds twice, who rounds ties away, up, or to even."""
    assert {name: rounded(name, [-2, -1], 0.5)[1] for name in NAMES} == {
        "S1": 0,
        "S2": 0,
        "S3": 0,
        "S4": -1,
        "S5": 0,
        "S6": 0,
        "S7": 0,
    }
    assert rounded("S1", [-2], 0.25) == [-1]
    assert rounded("S2", [-2], 0.25) == [0]
    assert rounded("S5", [3], 0.5) == [2]
    assert rounded("S6", [5], 0.5) == [3]
    assert rounded("S5", [5], 0.5) == [2]


SCALE = st.floats(2.0**-14, 4, width=32)


@given(s_x=SCALE, s_w=SCALE, s_y=SCALE)
def test_how_the_multiplier_is_made(s_x: float, s_w: float, s_y: float) -> None:
    def single(x: Fraction) -> Fraction:
        return Fraction(float(np.float32(float(x))))

    weights = np.asarray([s_w], np.float32)
    made = {
        n: float(make(np.float32(s_x), weights, np.float32(s_y))[0])
        for n, make in MULTIPLIERS.items()
    }
    product = Fraction(s_x) * Fraction(s_w)  # exact in a double
    assert made["double"] == float(product) / s_y
    assert made["product"] == float(single(product)) / s_y
    assert made["single"] == float(np.float32(single(product) / Fraction(s_y)))


def test_requantize_per_channel_adds_the_zero_point_and_clamps() -> None:
    parameters = make_requantization("S5:single", (1.0, [0.5, 0.25], 1.0), 3, (-10, 10))
    acc = np.asarray([[6, 6], [-100, 100], [4, -40]])
    assert requantize(acc, parameters).tolist() == [[6, 5], [-10, 10], [5, -7]]
