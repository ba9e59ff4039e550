"""Whatever is handed to the C++ module wrongly ends in an exception."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.arithmetic.requantize import Requantization
from harness.emulator.core import available_levels
from harness.emulator.core.kernels import Accumulation, Window, make_convolution, make_depthwise

if not available_levels():
    pytest.skip("the core is not built", allow_module_level=True)

from harness.emulator.core import _core

LEVEL = available_levels()[0]
REFUSED = (ValueError, TypeError, OverflowError)
SIZES = (4, 4, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 0, 0)
POOL = (4, 4, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0)


def parameters(**changes: Any) -> _core.Parameters:
    values = {
        "number": 1,
        "multiplier": [1 << 30] * 3,
        "shift": [-3] * 3,
        "scale": [],
        "zero_point": 0,
        "low": -128,
        "high": 127,
    }
    return _core.Parameters(**{**values, **changes})


def convolution(**changes: Any) -> _core.Convolution:
    values = {
        "level": LEVEL,
        "window": SIZES,
        "groups": 1,
        "weights": np.ones((3, 1, 1, 2), np.int8),
        "weight_zero": 0,
        "bias": None,
        "boundary": _core.Boundary(False, 0, False),
        "parameters": parameters(),
    }
    return _core.make_convolution(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"level": "sse9"},
        {"window": SIZES[:-1]},
        {"window": (0, *SIZES[1:])},
        {"window": (-4, *SIZES[1:])},
        {"window": (1 << 24, 1 << 24, 1 << 24, *SIZES[3:])},
        {"window": (*SIZES[:6], 1 << 24, 1 << 24, *SIZES[8:])},
        {"window": (*SIZES[:12], -1, 0)},
        {"window": (1 << 40, *SIZES[1:])},
        {"groups": 0},
        {"groups": 2},
        {"groups": -1},
        {"weights": np.ones((3, 1, 1, 3), np.int8)},
        {"weights": np.ones((3, 1, 1, 2), np.int16)},
        {"weight_zero": 128},
        {"bias": np.zeros(2, np.int32)},
        {"bias": np.zeros(3, np.int64)},
        {"boundary": _core.Boundary(False, 200, False)},
        {"parameters": parameters(number=0)},
        {"parameters": parameters(number=8)},
        {"parameters": parameters(multiplier=[1])},
        {"parameters": parameters(multiplier=[-1] * 3)},
        {"parameters": parameters(multiplier=[1 << 31] * 3)},
        {"parameters": parameters(shift=[-32] * 3)},
        {"parameters": parameters(shift=[32] * 3)},
        {"parameters": parameters(number=7)},
        {"parameters": parameters(number=5, scale=[float("nan")] * 3)},
        {"parameters": parameters(number=5, scale=[-1.0] * 3)},
        {"parameters": parameters(number=5)},
        {"parameters": parameters(low=100, high=-100)},
        {"parameters": parameters(high=200)},
        {"parameters": parameters(zero_point=1000)},
    ],
)
def test_constants_that_do_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        convolution(**changes)


@pytest.mark.parametrize("part", [(0, 0), (-1, 2), (2, 1), (0, 4)])
def test_slices_outside_the_channels(part: tuple[int, int]) -> None:
    sizes = (*SIZES[:2], 3, *SIZES[3:])
    with pytest.raises(REFUSED):
        _core.make_depthwise(
            LEVEL,
            sizes,
            *part,
            np.ones((1, 1, 1, 3), np.int8),
            0,
            None,
            _core.Boundary(False, 0, False),
            parameters(),
        )


TERMS = (1 << 20, 1 << 19, 20, 0, 0, 0, -128, 127)


@pytest.mark.parametrize(
    "terms",
    [
        TERMS[:-1],
        (1 << 23, *TERMS[1:]),
        (*TERMS[:2], 0, *TERMS[3:]),
        (*TERMS[:2], 32, *TERMS[3:]),
        (*TERMS[:3], 128, *TERMS[4:]),
        (*TERMS[:6], 10, -10),
    ],
)
def test_terms_that_do_not_fit(terms: tuple[int, ...]) -> None:
    with pytest.raises(REFUSED):
        _core.make_addition(LEVEL, terms, False, False)


CALLS: dict[str, Callable[[Any, Any], None]] = {
    "convolution": lambda x, y: convolution()(x, y, 1),
    "addition": lambda x, y: _core.make_addition(LEVEL, TERMS, False, False)(x, x, y, 1),
    "max pool": lambda x, y: _core.MaxPool(POOL, False)(x, y, 1),
    "sum pool": lambda x, y: _core.sum_pool(POOL, x, y, 1),
    "table": lambda x, y: _core.Table(np.zeros(256, np.int8))(x, y, 1),
    "pair table": lambda x, y: _core.PairTable(np.zeros(65536, np.int8))(x, x, y, 1),
}
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)
DTYPES = st.sampled_from(["int8", "uint8", "int16", "int32", "float32", "bool", "complex64"])


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(shapes=st.tuples(SHAPES, SHAPES), dtypes=st.tuples(DTYPES, DTYPES), odd=st.booleans())
def test_arrays_of_any_shape_and_dtype(
    name: str, shapes: tuple[Any, Any], dtypes: tuple[str, str], odd: bool
) -> None:
    x, y = (np.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    if odd and x.ndim:
        x = x[..., ::2]
    before = y.copy()
    try:
        CALLS[name](x, y)
    except REFUSED:
        np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("wrong", [None, 3, "x", b"xx", [1, 2], np.zeros((), object)])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array(name: str, wrong: Any) -> None:
    with pytest.raises(REFUSED):
        CALLS[name](wrong, wrong)


def test_a_read_only_output_stays_as_it_is() -> None:
    out = np.zeros((1, 4, 4, 3), np.int8)
    out.flags.writeable = False
    with pytest.raises(REFUSED):
        convolution()(np.zeros((1, 4, 4, 2), np.int8), out, 1)


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_a_number_of_threads_out_of_range(threads: int) -> None:
    with pytest.raises(REFUSED):
        convolution()(np.zeros((1, 4, 4, 2), np.int8), np.zeros((1, 4, 4, 3), np.int8), threads)


def test_parts_write_their_channels_only() -> None:
    unit = Requantization("S5", np.ones(1, np.float32), np.zeros(1, np.int64), 0, -128, 127)
    weights = np.ones((1, 1, 1, 5), np.int8)
    layer = Accumulation(weights, 0, None, "int8", 0, "int8", unit)
    double = Requantization("S5", np.full(1, 2, np.float32), np.zeros(1, np.int64), 0, -128, 127)
    window = Window(1, 1, 5, 1, 1, 5)
    kernel = make_depthwise(LEVEL, window, layer, [(0, 3, unit), (3, 5, double)])
    got = kernel(np.arange(5, dtype=np.int8).reshape(1, 1, 1, 5)).reshape(-1)
    assert got.tolist() == [0, 1, 2, 6, 8]


def test_an_empty_batch_gives_an_empty_batch() -> None:
    unit = Requantization("S5", np.ones(1, np.float32), np.zeros(1, np.int64), 0, -128, 127)
    layer = Accumulation(np.ones((3, 1, 1, 2), np.int8), 0, None, "int8", 0, "int8", unit)
    kernel = make_convolution(LEVEL, Window(4, 4, 2, 4, 4, 3), 1, layer)
    assert kernel(np.zeros((0, 4, 4, 2), np.int8)).shape == (0, 4, 4, 3)
