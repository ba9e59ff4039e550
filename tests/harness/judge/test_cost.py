"""SQNR and cosine, their limits included."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from harness.errors import ModelError
from harness.judge.cost import Array, quantization_cost
from harness.records import TensorCost


def cost_of(x: list[float] | Array, x_ref: list[float] | Array) -> TensorCost:
    cost = quantization_cost(("t",), (np.asarray(x),), (np.asarray(x_ref),), of="float model")
    return cost.tensors[0]


def test_known_values() -> None:
    # Signal 100, noise 1: 20 dB. Cosine of (6, 8) and (6, 7).
    one = cost_of([6.0, 7.0], [6.0, 8.0])
    assert one.sqnr_db == pytest.approx(20.0)
    assert one.cosine == pytest.approx((36 + 56) / math.sqrt(100 * 85))


inf, nan = math.inf, math.nan


@pytest.mark.parametrize(
    ("x", "x_ref", "sqnr_db", "cosine"),
    [
        ([1.0, 2.0], [1.0, 2.0], inf, 1.0),
        ([0.0, 0.0], [0.0, 0.0], inf, 1.0),
        ([], [], inf, 1.0),
        ([1.0, 0.0], [0.0, 0.0], -inf, 0.0),
        ([0.0, 0.0], [1.0, 0.0], 0.0, 0.0),
        ([inf, 1.0, nan], [inf, 1.0, nan], inf, 1.0),
        ([inf, 1.0], [1.0, 1.0], -inf, 0.0),
        ([nan, 1.0], [1.0, 1.0], -inf, 0.0),
        ([-inf, 1.0], [inf, 1.0], -inf, 0.0),
    ],
)
def test_limits(x: list[float], x_ref: list[float], sqnr_db: float, cosine: float) -> None:
    assert cost_of(x, x_ref) == TensorCost("t", sqnr_db, cosine)


@given(hnp.arrays("float64", (2, 5)))
def test_never_nan(both: Array) -> None:
    one = cost_of(both[0], both[1])
    assert not math.isnan(one.sqnr_db)
    assert -1 <= one.cosine <= 1


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e150, 1e300])
def test_the_unit_does_not_matter(unit: float) -> None:
    x, x_ref = np.array([6.0, 7.0]), np.array([6.0, 8.0])
    one = cost_of(x * unit, x_ref * unit)
    assert one.sqnr_db == pytest.approx(20.0)
    assert one.cosine == pytest.approx(cost_of(x, x_ref).cosine)


def test_another_shape_is_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"'t': shape \(2,\)"):
        cost_of([1.0, 2.0], [1.0])
