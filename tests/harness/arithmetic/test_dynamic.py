"""Rows quantized at run time, and what becomes of accumulators, against exact fractions."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.arithmetic import dynamic
from tests.oracle import dynamic as oracle

FINITE = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)
ROW = st.lists(FINITE, min_size=1, max_size=20)
HALVES = st.lists(st.integers(-254, 254).map(lambda n: n / 2), min_size=1, max_size=20)

QUANTIZERS: dict[str, tuple[Callable[..., dynamic.QuantizedRows], Callable[..., oracle.Row]]] = {
    "qd8": (dynamic.quantize_qd8, oracle.qd8),
    "qp8": (dynamic.quantize_qp8, lambda x: oracle.qd8(x, ties=oracle.half_away)),
    "symmetric-away": (
        lambda x: dynamic.quantize_symmetric(x, dynamic.round_rows_away),
        lambda x: oracle.symmetric(x, lanes=False),
    ),
    "symmetric-half-added": (
        lambda x: dynamic.quantize_symmetric(x, dynamic.round_rows_half_added),
        lambda x: oracle.symmetric(x, lanes=True),
    ),
    "asymmetric-away": (
        lambda x: dynamic.quantize_asymmetric(x, dynamic.round_rows_away),
        lambda x: oracle.asymmetric(x, lanes=False),
    ),
    "asymmetric-half-added": (
        lambda x: dynamic.quantize_asymmetric(x, dynamic.round_rows_half_added),
        lambda x: oracle.asymmetric(x, lanes=True),
    ),
}


def check(name: str, row: Sequence[float]) -> None:
    quantize, exact = QUANTIZERS[name]
    x = np.array([row], np.float32)
    got = quantize(x)
    values, scale, zero_point = exact([Fraction(float(v)) for v in x[0]])
    assert Fraction(float(got.scales[0, 0])) == scale
    assert got.zero_points[0, 0] == zero_point
    assert got.values[0].tolist() == values


@pytest.mark.parametrize("name", QUANTIZERS)
@given(row=ROW)
def test_rows(name: str, row: list[float]) -> None:
    check(name, row)


@pytest.mark.parametrize("name", QUANTIZERS)
@given(row=HALVES)
def test_rows_on_ties(name: str, row: list[float]) -> None:
    """With the extremes appended, every quotient is a multiple of a half, or nearly."""
    check(name, [*row, -127.0, 127.0])
    check(name, [*row, -128.0, 127.0])


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("row", [[0.0], [0.0] * 9, [3.0] * 8, [-3.0] * 17, [-1e-3, 1e6]])
def test_rows_of_one_sign_or_none(name: str, row: list[float]) -> None:
    check(name, row)


def test_half_added_rounds_what_lies_next_below_a_half_up_in_blocks_of_8_only() -> None:
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    rows = np.array([[below] * 8 + [127.0, below]], np.float32)
    added = dynamic.quantize_symmetric(rows, dynamic.round_rows_half_added)
    assert added.values[0].tolist() == [1] * 8 + [127, 0]
    away = dynamic.quantize_symmetric(rows, dynamic.round_rows_away)
    assert away.values[0].tolist() == [0] * 8 + [127, 0]


ACC = st.integers(-(1 << 30), 1 << 30)
SCALE = st.floats(2**-13, 100, width=32)
BIAS = st.floats(-1e4, 1e4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-4)
F = oracle.f32


@given(acc=ACC, row=SCALE, weight=SCALE, bias=BIAS)
def test_expressions(acc: int, row: float, weight: float, bias: float) -> None:
    a, s, w, b = F(Fraction(acc)), Fraction(row), Fraction(weight), Fraction(bias)
    sums = np.array([[acc] * 5])
    parameters = (np.float32(row), np.array([weight] * 5, np.float32), np.float32(bias))
    row_first, weight_first = F(F(F(a * s) * w) + b), F(F(F(a * w) * s) + b)
    exact = {
        dynamic.scale_qd8: [F(F(a * s) * w + b)] * 5,
        dynamic.scale_fused: [F(a * F(s * w) + b)] * 5,
        dynamic.scale_product: [F(F(a * F(s * w)) + b)] * 5,
        dynamic.scale_weights_first: [weight_first] * 5,
        dynamic.scale_rows_first: [row_first] * 5,
        dynamic.scale_blocks_of_4: [weight_first] * 4 + [row_first],
    }
    for expression, expected in exact.items():
        got = expression(sums, *(np.asarray(p) for p in parameters))
        assert got.dtype == np.float32
        assert [Fraction(float(y)) for y in got[0]] == expected, expression.__name__
