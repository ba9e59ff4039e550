"""Hybrid layers: each level gives the definition's float32 bits, or refuses as it does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.emulator.core import available_levels
from harness.emulator.core.hybrid import SEMANTICS
from harness.emulator.definitions import Call, NoDefinition
from harness.emulator.graph import Array
from tests.harness.emulator.core.calls import define_each, make_call, make_tensor, run_core
from tests.harness.emulator.core.test_accumulating import CHANNELS, SEEDS, windows

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")

EACH_LEVEL = pytest.mark.parametrize("level", available_levels())
EACH_SEMANTICS = pytest.mark.parametrize("semantics", sorted(SEMANTICS))
FEW = settings(max_examples=60, deadline=None, derandomize=True)


def hybrid_call(
    op: str,
    semantics: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    seed: int,
    options: dict[str, Any],
) -> Call:
    """A node with random constants; `shapes` of input, weights and output."""
    x_shape, w_shape, y_shape = shapes
    rng, axis = np.random.default_rng(seed), 3 if op == "DEPTHWISE_CONV_2D" else 0
    channels = w_shape[axis]
    exact = 2.0 ** -rng.integers(4, 9, channels).astype(float)
    scales = np.where(rng.random(channels) < 0.5, exact, exact * rng.uniform(0.5, 1, channels))
    if seed % 3 == 0:
        scales = scales[:1]
    data = rng.integers(-127, 128, w_shape).astype(np.int8)
    bias = rng.normal(size=channels).astype(np.float32)
    inputs = (
        make_tensor(x_shape, "float32"),
        make_tensor(w_shape, "int8", scales, axis=axis, data=data),
        make_tensor((channels,), "float32", data=bias) if seed % 4 else None,
    )
    return make_call(op, semantics, inputs, make_tensor(y_shape, "float32"), options)


def rows_of(shape: tuple[int, ...], seed: int) -> Array:
    """Two steps of rows: normal, of one sign, on the ties of their own scale, or all zeros."""
    rng, kind = np.random.default_rng(seed), seed % 5
    x = rng.normal(size=(2, *shape)) * 2.0 ** rng.integers(-9, 9)
    if kind == 1:
        x = np.abs(x)
    elif kind in {2, 3}:
        x = (rng.integers(-127, 128, x.shape) + 0.5) * 2.0**-5
        x[..., 0], x[..., -1] = (127.5 / 32, -127.5 / 32) if kind == 2 else (127 / 32, 0)
    elif kind == 4:
        x[0] = 0
    return x.astype(np.float32)


def assert_same_bits(call: Call, level: str, x: Array) -> None:
    got, expected = run_core(call, level, (x,)), define_each(call, (x,))
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(got.view(np.int32), expected.view(np.int32))


@EACH_LEVEL
@FEW
@given(
    data=st.tuples(windows(), CHANNELS, CHANNELS, st.sampled_from([1, 1, 2, 4])),
    semantics=st.sampled_from(sorted(SEMANTICS)),
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
    call = hybrid_call("CONV_2D", semantics, shapes, seed, options)
    assert_same_bits(call, level, rows_of(shapes[0], seed))


@EACH_LEVEL
@FEW
@given(
    data=st.tuples(windows(), CHANNELS),
    semantics=st.sampled_from(sorted(SEMANTICS)),
    batch=st.integers(1, 2),
    seed=SEEDS,
)
def test_depthwise(level: str, data: Any, semantics: str, batch: int, seed: int) -> None:
    (kernel, image, options), channels = data
    # Rows that are pixels: the definition has them for XNNPACK's 1 x 1 convolutions only.
    assume(kernel != (1, 1) or ":q" not in semantics)
    shapes = ((batch, *image, channels), (1, *kernel, channels), (batch, 1, 1, channels))
    call = hybrid_call("DEPTHWISE_CONV_2D", semantics, shapes, seed, options)
    assert_same_bits(call, level, rows_of(shapes[0], seed))


@EACH_LEVEL
@EACH_SEMANTICS
@pytest.mark.parametrize("zero_points", [False, True])
def test_fully_connected_under_every_semantics(
    level: str, semantics: str, zero_points: bool
) -> None:
    for seed in range(10):
        options = {
            "fused_activation_function": ("NONE", "RELU", "RELU6")[seed % 3],
            "asymmetric_quantize_inputs": zero_points,
            "keep_num_dims": True,
        }
        shapes = ((3, 2, 37), (21, 37), (3, 2, 21))
        call = hybrid_call("FULLY_CONNECTED", semantics, shapes, seed, options)
        assert_same_bits(call, level, rows_of(shapes[0], seed))


@EACH_LEVEL
@pytest.mark.parametrize("semantics", ["hybrid:qd8:qd8", "hybrid:half-added:blocks-of-4"])
def test_every_width_of_outputs_rows_and_channels(level: str, semantics: str) -> None:
    for width in range(1, 66):
        shapes = ((width % 8 + 1, width), (66 - width, width), (width % 8 + 1, 66 - width))
        call = hybrid_call("FULLY_CONNECTED", semantics, shapes, width, {})
        assert_same_bits(call, level, rows_of(shapes[0], width))
        image = (1, 5, 4, width)
        options = {"padding": "SAME", "stride_h": 1 + width % 2, "stride_w": 1}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        shapes4 = (image, (1, 3, 3, width), image)
        call = hybrid_call("DEPTHWISE_CONV_2D", semantics, shapes4, width, options)
        assert_same_bits(call, level, rows_of(image, width))


@EACH_LEVEL
@pytest.mark.parametrize("turned", [False, True])
def test_a_constant_factor_of_batch_matmul(level: str, turned: bool) -> None:
    rng = np.random.default_rng(3)
    data = rng.integers(-127, 128, (5, 19) if turned else (19, 5)).astype(np.int8)
    w = make_tensor(data.shape, "int8", [0.125, 0.3, 1, 2, 0.01], axis=1 - turned, data=data)
    inputs = (make_tensor((2, 3, 19), "float32"), w)
    output, options = make_tensor((2, 3, 5), "float32"), {"adj_y": turned}
    call = make_call("BATCH_MATMUL", "hybrid:qd8:qd8", inputs, output, options)
    assert_same_bits(call, level, rows_of((2, 3, 19), 5))


@EACH_LEVEL
@pytest.mark.parametrize("depth", [521, 70_001])
def test_sums_beyond_float32_and_beyond_32_bits(level: str, depth: int) -> None:
    shapes = ((2, depth), (3, depth), (2, 3))
    call = hybrid_call("FULLY_CONNECTED", "hybrid:qd8:qd8", shapes, 1, {})
    weights = np.full((3, depth), 127, np.int8)
    weights[1] = -127
    weights[2, ::2] = 126
    tensor = make_tensor((3, depth), "int8", 0.5, data=weights)
    call = make_call(
        "FULLY_CONNECTED", call.semantics, (call.inputs[0], tensor, call.inputs[2]), call.output
    )
    x = np.random.default_rng(1).uniform(126, 127, (2, 2, depth)).astype(np.float32)
    assert_same_bits(call, level, x)


@EACH_LEVEL
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.0e38, 1e-39])
def test_rows_without_a_scale_are_refused_as_by_the_definition(level: str, bad: float) -> None:
    shapes = ((2, 40), (5, 40), (2, 5))
    call = hybrid_call("FULLY_CONNECTED", "hybrid:qd8:qd8", shapes, 1, {})
    for place in (0, 17, 39):
        x = np.zeros((1, 2, 40), np.float32)
        x[0, 1, place] = bad
        x[0, 1, place - 1] = -bad if abs(bad) > 1 else 0
        for run in (lambda x=x: run_core(call, level, (x,)), lambda x=x: define_each(call, (x,))):
            with pytest.raises(NoDefinition, match="too wide or too narrow"):
                run()


@EACH_LEVEL
def test_the_narrowest_and_widest_rows(level: str) -> None:
    shapes = ((2, 9), (5, 9), (2, 5))
    for semantics in ("hybrid:qd8:qd8", "hybrid:away:product", "hybrid:half-added:product"):
        for zero_points in (False, True):
            options = {"asymmetric_quantize_inputs": zero_points}
            call = hybrid_call("FULLY_CONNECTED", semantics, shapes, 1, options)
            x = np.random.default_rng(2).uniform(-1, 1, (1, 2, 9)).astype(np.float32)
            for factor in (1e-36, 1e-35, 1e30):
                assert_same_bits(call, level, x * np.float32(factor))
