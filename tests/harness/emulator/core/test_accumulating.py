"""Convolution, depthwise and fully connected: each level equals the definition on every shape."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulator.core import available_levels
from harness.emulator.definitions import Call
from harness.emulator.graph import Array
from tests.harness.emulator.core.calls import (
    define_each,
    make_call,
    make_tensor,
    random_bytes,
    run_core,
)

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")

CHANNELS = st.sampled_from([1, 3, 5, 8, 15, 16, 17, 33, 48])
SEEDS = st.integers(0, 2**32 - 1)
# S8 requantizes the 64-bit accumulators of int16 activations: see test_wide.
SEMANTICS = st.sampled_from([f"S{n}:{m}" for n in range(1, 8) for m in ("double", "single")])
KINDS = st.sampled_from([("int8", True), ("int8", False), ("uint8", False)])
FEW = settings(max_examples=40, deadline=None, derandomize=True)


def scales_of(rng: np.random.Generator, count: int, depth: int) -> Array:
    """Weight scales that spread the outputs over their range; half of them dyadic."""
    exact = 2.0 ** -rng.integers(6, 9, count).astype(float)
    return np.where(rng.random(count) < 0.5, exact, exact * rng.uniform(0.5, 1, count)) / depth**0.5


def accumulating_call(
    op: str,
    semantics: str,
    *,
    kind: tuple[str, bool],
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    seed: int,
    options: dict[str, Any],
) -> Call:
    """A node with random constants; `shapes` of input, weights and output."""
    (dtype, per_channel), rng = kind, np.random.default_rng(seed)
    x_shape, w_shape, y_shape = shapes
    axis, channels = (3, w_shape[3]) if op == "DEPTHWISE_CONV_2D" else (0, w_shape[0])
    depth = int(np.prod(w_shape)) // channels
    zeros = rng.integers(100, 156, 3) - (128 if dtype == "int8" else 0)
    weights = make_tensor(
        w_shape,
        dtype,
        scales_of(rng, channels if per_channel else 1, depth),
        0 if dtype == "int8" else int(zeros[0]),
        axis=axis,
        data=random_bytes(rng, w_shape, dtype),
    )
    bias = rng.integers(-20000, 20000, channels, dtype=np.int32)
    inputs = (
        make_tensor(x_shape, dtype, 0.5, int(zeros[1])),
        weights,
        make_tensor((channels,), "int32", data=bias) if seed % 4 else None,
    )
    return make_call(
        op, semantics, inputs, make_tensor(y_shape, dtype, 1.0, int(zeros[2])), options
    )


def assert_equal(call: Call, level: str, seed: int) -> None:
    x = call.input(0)
    steps = (random_bytes(np.random.default_rng(seed), (2, *x.shape), x.dtype),)
    np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], dict[str, Any]]:
    """(kernel, image, options); VALID windows fit."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    image = draw(st.tuples(st.integers(5, 9), st.integers(5, 9)))
    options = {
        "padding": draw(st.sampled_from(["SAME", "VALID"])),
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1],
        "fused_activation_function": draw(st.sampled_from(["NONE", "RELU6", "RELU"])),
    }
    return kernel, image, options


@pytest.mark.parametrize("level", available_levels())
@FEW
@given(
    data=st.tuples(windows(), CHANNELS, CHANNELS, st.sampled_from([1, 1, 2, 4])),
    semantics=SEMANTICS,
    kind=KINDS,
    batch=st.integers(1, 2),
    seed=SEEDS,
)
def test_convolution(
    level: str, *, data: Any, semantics: str, kind: tuple[str, bool], batch: int, seed: int
) -> None:
    (kernel, image, options), inputs, outputs, groups = data
    shapes = (
        (batch, *image, inputs * groups),
        (outputs * groups, *kernel, inputs),
        (batch, 1, 1, outputs * groups),
    )
    call = accumulating_call(
        "CONV_2D", semantics, kind=kind, shapes=shapes, seed=seed, options=options
    )
    assert_equal(call, level, seed)


@pytest.mark.parametrize("level", available_levels())
@FEW
@given(
    data=st.tuples(windows(), CHANNELS, st.sampled_from([1, 1, 2, 8])),
    semantics=SEMANTICS,
    kind=KINDS,
    batch=st.integers(1, 2),
    seed=SEEDS,
)
def test_depthwise(
    level: str, *, data: Any, semantics: str, kind: tuple[str, bool], batch: int, seed: int
) -> None:
    (kernel, image, options), inputs, multiplier = data
    outputs = inputs * multiplier
    shapes = ((batch, *image, inputs), (1, *kernel, outputs), (batch, 1, 1, outputs))
    options = {**options, "depth_multiplier": multiplier}
    call = accumulating_call(
        "DEPTHWISE_CONV_2D", semantics, kind=kind, shapes=shapes, seed=seed, options=options
    )
    assert_equal(call, level, seed)


@pytest.mark.parametrize("level", available_levels())
@FEW
@given(
    rows=st.sampled_from([1, 2, 5, 6, 7, 13, 50]),
    depth=st.sampled_from([1, 2, 3, 7, 33, 100, 513]),
    units=CHANNELS,
    semantics=SEMANTICS,
    kind=KINDS,
    seed=SEEDS,
)
def test_fully_connected(
    level: str,
    *,
    rows: int,
    depth: int,
    units: int,
    semantics: str,
    kind: tuple[str, bool],
    seed: int,
) -> None:
    shapes = ((rows, depth), (units, depth), (rows, units))
    call = accumulating_call(
        "FULLY_CONNECTED", semantics, kind=kind, shapes=shapes, seed=seed, options={}
    )
    assert_equal(call, level, seed)


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize(("rows", "units"), [(1, 700), (700, 1), (300, 70)])
def test_threads_share_rows_and_panels(
    level: str, rows: int, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_THREADS", "3")
    shapes = ((rows, 1100), (units, 1100), (rows, units))
    call = accumulating_call(
        "FULLY_CONNECTED", "S5:single", kind=("int8", True), shapes=shapes, seed=5, options={}
    )
    assert_equal(call, level, 5)


@pytest.mark.parametrize("level", available_levels())
def test_the_largest_products_wrap_as_int32_does(level: str) -> None:
    depth = 140_000
    x = make_tensor((1, depth), "uint8", 0.5, 0)
    weights = make_tensor((2, depth), "uint8", 2.0**-24, 0, data=np.full((2, depth), 255, np.uint8))
    bias = make_tensor((2,), "int32", data=np.array([0, -(2**31)], np.int32))
    output = make_tensor((1, 2), "uint8", 1.0, 128)
    call = make_call("FULLY_CONNECTED", "S5:single", (x, weights, bias), output)
    steps = (np.full((1, 1, depth), 255, np.uint8),)
    np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))
