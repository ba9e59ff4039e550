"""Fixed-point primitives, the gemmlowp functions, expf and the fused step, against exact values."""

import ctypes
import ctypes.util
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.arithmetic.expf import expf
from harness.arithmetic.fixed_point import (
    doubling_high_mul,
    doubling_high_mul_int16,
    round_half_away,
    shift_right_ties_away,
    shift_right_ties_up,
    to_int64,
    wrap_int16,
    wrap_int32,
)
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.gemmlowp import (
    exp_of_negative,
    inverse_square_root,
    one_over_one_plus,
    reciprocal,
)

INT16 = st.integers(-(1 << 15), (1 << 15) - 1)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
SMALL_FLOAT = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


@pytest.mark.parametrize("shift", range(12))
def test_shifts_over_a_whole_range(shift: int) -> None:
    x = np.arange(-5000, 5000)
    exact = [Fraction(int(v), 1 << shift) for v in x]
    up = [math.floor(v + Fraction(1, 2)) for v in exact]
    away = [int(math.copysign(math.floor(abs(v) + Fraction(1, 2)), v)) for v in exact]
    assert shift_right_ties_up(x, to_int64(shift)).tolist() == up
    assert shift_right_ties_away(x, to_int64(shift)).tolist() == away


@given(a=INT32, b=INT32)
def test_doubling_high_mul(a: int, b: int) -> None:
    exact = math.floor(Fraction(a * b, 1 << 31) + Fraction(1, 2))
    assert int(doubling_high_mul(to_int64(a), to_int64(b))) == min(exact, (1 << 31) - 1)


@given(a=INT16, b=INT16)
def test_doubling_high_mul_int16(a: int, b: int) -> None:
    exact = math.floor(Fraction(a * b, 1 << 15) + Fraction(1, 2))
    assert int(doubling_high_mul_int16(to_int64(a), to_int64(b))) == min(exact, (1 << 15) - 1)


@given(x=st.integers(-(1 << 62), 1 << 62))
def test_wrap(x: int) -> None:
    assert int(wrap_int16(to_int64(x))) == ctypes.c_int16(x & 0xFFFF).value
    assert int(wrap_int32(to_int64(x))) == ctypes.c_int32(x & 0xFFFFFFFF).value


def test_half_away_where_adding_a_half_would_round_twice() -> None:
    x = np.asarray([0.49999997, 0.5, 1.5, 2.5, -0.5, -2.5, 8388609.0, -0.49999997], np.float32)
    assert round_half_away(x).tolist() == [0, 1, 2, 3, -1, -3, 8388609, 0]


@given(x=st.floats(-16, 0))
def test_gemmlowp_exp_and_reciprocal_are_what_they_are_called(x: float) -> None:
    raw = to_int64(int(x * 2**26))
    assert abs(int(exp_of_negative(raw, 5)) / 2**31 - math.exp(int(raw) / 2**26)) < 1e-6
    fraction = to_int64(int(-x / 17 * 2**31))
    assert abs(int(one_over_one_plus(fraction)) / 2**31 - 1 / (1 + int(fraction) / 2**31)) < 1e-8


@given(x=st.integers(1 << 12, (1 << 31) - 1))
def test_reciprocal(x: int) -> None:
    value, right = reciprocal(to_int64(x), 12)
    assert int(value) / 2**31 / 2.0 ** int(right) == pytest.approx(2**19 / x, rel=1e-8)


@given(a=SMALL_FLOAT, b=SMALL_FLOAT, c=SMALL_FLOAT)
def test_fused_multiply_add_rounds_once(a: float, b: float, c: float) -> None:
    x, y, z = (np.asarray([v], np.float32) for v in (a, b, c))
    exact = Fraction(float(x[0])) * Fraction(float(y[0])) + Fraction(float(z[0]))
    got = fused_multiply_add(x, y, z)[0]
    beside = [np.nextafter(got, np.float32(s), dtype=np.float32) for s in (-np.inf, np.inf)]
    error = abs(Fraction(float(got)) - exact)
    for other in beside:
        distance = abs(Fraction(float(other)) - exact)
        even = int(np.abs(got).view(np.int32)) % 2 == 0
        assert error < distance or (error == distance and even)


def test_fused_multiply_add_where_a_double_would_round_twice() -> None:
    # a * b + c = 1 + 2^-24 + 2^-60: a double drops the last part and leaves a tie.
    a, b = np.float32(2**-30), np.float32(2**-30)
    c = np.asarray([1 + 2**-23], np.float32)
    assert fused_multiply_add(np.asarray([a]), np.asarray([b]), c)[0] == c[0]
    x = np.asarray([1 + 2**-12], np.float32)  # x * x = 1 + 2^-11 + 2^-24
    z = np.asarray([2.0**-60], np.float32)
    assert fused_multiply_add(x, x, z)[0] == np.float32(1 + 2**-11 + 2**-23)
    assert fused_multiply_add(x, x, -z)[0] == np.float32(1 + 2**-11)


def test_expf_is_the_c_library_s() -> None:
    library = ctypes.util.find_library("m")
    if library is None or "glibc" not in " ".join(map(str, __import__("platform").libc_ver())):
        pytest.skip("no glibc here to compare with")
    c_expf = ctypes.CDLL(library).expf
    c_expf.restype, c_expf.argtypes = ctypes.c_float, [ctypes.c_float]
    x = np.linspace(-80, 10, 40_001, dtype=np.float32)
    expected = np.asarray([c_expf(float(v)) for v in x], np.float32)
    np.testing.assert_array_equal(expf(x), expected)


def test_inverse_square_root_over_its_whole_domain() -> None:
    x = np.unique(np.geomspace(1, 2**31 - 1, 20000).astype(np.int64))
    value, right = inverse_square_root(x)
    assert np.allclose(value * 2.0 ** -(31 + right), 1 / np.sqrt(x), rtol=2e-6, atol=0)
    zero, shift = inverse_square_root(to_int64([0]))
    assert (int(zero[0]), int(shift[0])) == ((1 << 31) - 1, 0)
