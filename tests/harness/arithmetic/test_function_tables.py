"""Tables of float functions: which may depend on the C library or the machine is noticed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.arithmetic.function_tables import (
    LITERT_FUNCTIONS,
    XNNPACK_FUNCTIONS,
    TableQuantization,
    are_equal,
    litert_overflows,
    litert_tables,
    xnnpack_tables,
)

PLAIN = TableQuantization(float(np.float32(0.037)), 3, float(np.float32(0.0081)), -5, "int8")


@pytest.mark.parametrize("name", LITERT_FUNCTIONS)
def test_candidates_agree_where_no_value_is_near_a_tie(name: str) -> None:
    assert are_equal(litert_tables(name, PLAIN))
    assert not litert_overflows(name, PLAIN)


def on_a_tie(exact: float) -> TableQuantization:
    """An output scale by which the value for input 30 ends half way between two integers."""
    return replace(PLAIN, z_x=0, s_y=float(np.float32(exact / 2.5)))


def test_a_value_on_a_tie_may_go_either_way() -> None:
    v = 30 * PLAIN.s_x
    assert not are_equal(litert_tables("TANH", on_a_tie(math.tanh(v))))
    assert not are_equal(xnnpack_tables("TANH", on_a_tie(math.tanh(v))))
    gelu = v * (1 + math.erf(v / math.sqrt(2))) / 2
    assert not are_equal(litert_tables("GELU", on_a_tie(gelu)))


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH", "ELU"])
def test_runtimes_round_within_one_of_the_exact_value(name: str) -> None:
    q = replace(PLAIN, s_y=1 / 128)
    functions = {
        "LOGISTIC": lambda v: 1 / (1 + math.exp(-v)),
        "TANH": math.tanh,
        "ELU": lambda v: v if v > 0 else math.expm1(v),
    }
    exact = [functions[name](float(v) * q.s_x) / q.s_y + q.z_y for v in q.inputs]
    expected = np.clip(np.rint(exact), -128, 127)
    assert set(XNNPACK_FUNCTIONS) == set(functions)
    for tables in (litert_tables(name, q), xnnpack_tables(name, q)):
        assert np.abs(tables[0] - expected).max() <= 1


def test_results_beyond_the_integers_are_not_the_same_everywhere() -> None:
    assert litert_overflows("EXP", replace(PLAIN, s_x=0.5))
