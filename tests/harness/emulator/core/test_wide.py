"""Int16 activations: each level equals the definition; so do ADD and SUB of int16, and GELU."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulator.core import available_levels
from harness.emulator.core.bindings import bind
from harness.emulator.definitions import Call
from tests.harness.emulator.core.calls import (
    define_each,
    make_call,
    make_tensor,
    random_bytes,
    run_core,
)
from tests.harness.emulator.core.test_accumulating import CHANNELS, SEEDS, scales_of, windows

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")

EACH_LEVEL = pytest.mark.parametrize("level", available_levels())
SEMANTICS = st.sampled_from(["S8:double", "S4:double"])
FEW = settings(max_examples=60, deadline=None, derandomize=True)


def wide_call(
    op: str,
    semantics: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    seed: int,
    options: dict[str, Any],
) -> Call:
    """A node with random constants, its outputs spread over their range."""
    x_shape, w_shape, y_shape = shapes
    rng, axis = np.random.default_rng(seed), 3 if op == "DEPTHWISE_CONV_2D" else 0
    channels = w_shape[axis]
    depth = int(np.prod(w_shape)) // channels
    scales = scales_of(rng, channels if seed % 3 else 1, depth) / (4.0 if seed % 2 else 16.0)
    weights = rng.integers(-128, 128, w_shape).astype(np.int8)
    bias = rng.integers(-(1 << 34), 1 << 34, channels) >> rng.integers(0, 30, channels)
    inputs = (
        make_tensor(x_shape, "int16", 0.5),
        make_tensor(w_shape, "int8", scales, axis=axis, data=weights),
        make_tensor((channels,), "int64", data=bias) if seed % 4 else None,
    )
    return make_call(op, semantics, inputs, make_tensor(y_shape, "int16", 1.0), options)


def assert_equal(call: Call, level: str, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), call.input(0).shape
    x = random_bytes(rng, (2, *shape), "int16")
    if seed % 5 == 0:  # the ends of the range and around zero
        x = rng.choice(np.array([-32768, -32767, -257, -256, -1, 0, 1, 255, 256, 32767]), x.shape)
    steps = (x.astype(np.int16),)
    got, expected = run_core(call, level, steps), define_each(call, steps)
    assert got.dtype == expected.dtype == np.int16
    np.testing.assert_array_equal(got, expected)


@EACH_LEVEL
@FEW
@given(
    data=st.tuples(windows(), CHANNELS, CHANNELS, st.sampled_from([1, 1, 2, 4])),
    semantics=SEMANTICS,
    batch=st.integers(1, 2),
    seed=SEEDS,
)
def test_convolution(level: str, data: Any, semantics: str, batch: int, seed: int) -> None:
    (kernel, image, options), inputs, outputs, groups = data
    shapes = (
        (batch, *image, inputs * groups),
        (outputs * groups, *kernel, inputs),
        (batch, 1, 1, outputs * groups),
    )
    assert_equal(wide_call("CONV_2D", semantics, shapes, seed, options), level, seed)


@EACH_LEVEL
@FEW
@given(
    data=st.tuples(windows(), CHANNELS), semantics=SEMANTICS, batch=st.integers(1, 2), seed=SEEDS
)
def test_depthwise(level: str, data: Any, semantics: str, batch: int, seed: int) -> None:
    (kernel, image, options), channels = data
    shapes = ((batch, *image, channels), (1, *kernel, channels), (batch, 1, 1, channels))
    assert_equal(wide_call("DEPTHWISE_CONV_2D", semantics, shapes, seed, options), level, seed)


@EACH_LEVEL
@pytest.mark.parametrize("semantics", ["S8:double", "S4:double"])
def test_every_width_of_outputs_rows_and_channels(level: str, semantics: str) -> None:
    for width in range(1, 66):
        shapes = ((width % 8 + 1, width), (66 - width, width), (width % 8 + 1, 66 - width))
        assert_equal(wide_call("FULLY_CONNECTED", semantics, shapes, width, {}), level, width)
        image = (1, 5, 4, width)
        options = {"padding": "SAME", "stride_h": 1 + width % 2, "stride_w": 1}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        call = wide_call(
            "DEPTHWISE_CONV_2D", semantics, (image, (1, 3, 3, width), image), width, options
        )
        assert_equal(call, level, width)


@EACH_LEVEL
def test_ties_of_s8_go_up(level: str) -> None:
    """A multiplier of 2^-4 on sums around every tie, of both signs."""
    x = np.arange(-600, 600, dtype=np.int16).reshape(1, 1200, 1)
    weights = make_tensor((1, 1), "int8", 1.0, data=np.ones((1, 1), np.int8))
    inputs = (make_tensor((1200, 1), "int16", 1.0), weights, None)
    output = make_tensor((1200, 1), "int16", 16.0)
    call = make_call("FULLY_CONNECTED", "S8:double", inputs, output, {})
    got = run_core(call, level, (x,))
    np.testing.assert_array_equal(got, define_each(call, (x,)))
    np.testing.assert_array_equal(got.ravel(), np.floor(x.ravel() / 16 + 0.5))


@EACH_LEVEL
def test_sums_that_32_bits_do_not_hold(level: str) -> None:
    shapes = ((1, 4096), (3, 4096), (1, 3))
    call = wide_call("FULLY_CONNECTED", "S8:double", shapes, 1, {})
    data = np.array([[127], [-128], [1]], np.int8).repeat(4096, axis=1)
    weights = make_tensor((3, 4096), "int8", 1e-4, data=data)
    call = make_call(
        "FULLY_CONNECTED", "S8:double", (call.inputs[0], weights, call.inputs[2]), call.output
    )
    for value in (-32768, 32767):
        x = (np.full((1, 1, 4096), value, np.int16),)
        np.testing.assert_array_equal(run_core(call, level, x), define_each(call, x))


def test_what_the_core_leaves_to_the_definition() -> None:
    shapes = ((1, 8), (3, 8), (1, 3))
    call = wide_call("FULLY_CONNECTED", "S8:double", shapes, 1, {})
    bias = make_tensor((3,), "int64", data=np.full(3, 1 << 47))
    for inputs in (
        (make_tensor((1, 8), "int16", 0.5, 3), *call.inputs[1:]),
        (*call.inputs[:2], bias),
        (call.inputs[0], make_tensor((3, 8), "int8"), call.inputs[2]),
    ):
        left = make_call("FULLY_CONNECTED", "S8:double", inputs, call.output)
        assert bind(left, available_levels()[0]) is None


@EACH_LEVEL
@pytest.mark.parametrize("op", ["ADD", "SUB"])
@pytest.mark.parametrize("semantics", ["shifted-S1", "shifted-once-blocks-of-16"])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
def test_addition(level: str, op: str, semantics: str, activation: str) -> None:
    if op == "SUB" and "once" in semantics:
        return  # SUB has no kernel in blocks
    rng = np.random.default_rng(7)
    for scales in ([1.0, 1.0, 2.0], [0.5, 0.03, 0.7], [1e-3, 1.0, 1.1], [0.25, 0.125, 0.5]):
        shape = (2, 5, 16)
        a, b = (make_tensor(shape, "int16", scale) for scale in scales[:2])
        output = make_tensor(shape, "int16", scales[2])
        call = make_call(op, semantics, (a, b), output, {"fused_activation_function": activation})
        steps = tuple(random_bytes(rng, (3, *shape), "int16") for _ in range(2))
        steps[0][0, 0, 0, :2] = -32768, 32767
        steps[1][0, 0, 0, :2] = -32768, 32767
        np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))


@EACH_LEVEL
def test_gelu_has_the_bits_of_its_definition(level: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 1000)).astype(np.float32) * 3
    x[0, 0, :6] = 0, -0.0, np.inf, -np.inf, 1e-40, -1e-40
    x[0, 1] = np.linspace(-7, 7, 1000)
    tensor = make_tensor((3, 1000), "float32")
    call = make_call("GELU", "float", (tensor,), tensor)
    got, expected = run_core(call, level, (x,)), define_each(call, (x,))
    whole = ~np.isnan(expected)
    np.testing.assert_array_equal(got[whole].view(np.int32), expected[whole].view(np.int32))
    np.testing.assert_array_equal(np.isnan(got), ~whole)
