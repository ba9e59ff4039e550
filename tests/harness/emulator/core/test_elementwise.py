"""Tables and pools: each equals its definition on the whole domain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulator.core import available_levels
from harness.emulator.core.bindings import bind
from harness.emulator.definitions import ELEMENTWISE
from harness.emulator.ops.broadcast import walk
from harness.emulator.ops.mean import FINISHES
from tests.harness.emulator.core.calls import (
    define_each,
    make_call,
    make_tensor,
    random_bytes,
    run_core,
)

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")

PAIRS = ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU")
NO_TABLE = ("DIV",)
"""Not defined for every pair of bytes, so the core leaves it to the definition."""
UNARY = sorted(e for e in ELEMENTWISE if e[0] not in (*PAIRS, *NO_TABLE))
BINARY = sorted(e for e in ELEMENTWISE if e[0] in PAIRS)
LEVEL = (available_levels() or ("",))[0]


@pytest.mark.parametrize(("op", "semantics"), UNARY)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_all_bytes(op: str, semantics: str, dtype: str) -> None:
    x = make_tensor((1, 256), dtype, 0.031, 7)
    output = x if op == "CLAMP" else make_tensor((1, 256), dtype, 0.05, 3)
    options = {"alpha": 0.1, "fused_activation_function": "RELU6"}
    call = make_call(op, semantics, (x,), output, options)
    steps = (np.random.default_rng(0).permutation(256).astype(np.uint8).view(dtype)[None, None],)
    np.testing.assert_array_equal(run_core(call, LEVEL, steps), define_each(call, steps))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize(("op", "semantics"), BINARY)
@pytest.mark.parametrize(("dtype", "scales"), [("int8", (0.1, 0.07)), ("uint8", (0.02, 3.0))])
def test_all_pairs_of_bytes(
    level: str, op: str, semantics: str, dtype: str, scales: tuple[float, float]
) -> None:
    a, b = (make_tensor((1, 65536), dtype, scale, 5) for scale in scales)
    options = {"fused_activation_function": "RELU6" if dtype == "uint8" else "NONE"}
    call = make_call(op, semantics, (a, b), make_tensor((1, 65536), dtype, 0.13, 2), options)
    order = np.random.default_rng(0).permutation(65536)
    steps = tuple(
        part.astype(np.uint8).view(dtype)[None, None] for part in (order // 256, order % 256)
    )
    np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("size", [1, 7, 8, 15, 17, 63, 65, 200])
def test_additions_of_any_length(level: str, size: int) -> None:
    a, b = (make_tensor((1, size), "uint8", scale, 99) for scale in (0.1, 0.3))
    call = make_call("SUB", "xnnpack", (a, b), make_tensor((1, size), "uint8", 0.13, 120))
    rng = np.random.default_rng(size)
    steps = tuple(random_bytes(rng, (3, 1, size), "uint8") for _ in range(2))
    np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))


SHAPES = [
    ((3, 4, 16), (16,)),
    ((1, 4, 1), (3, 1, 16)),
    ((16,), (2, 3, 16)),
    ((2, 16), (1, 1)),
    ((2, 16), ()),
]


@pytest.mark.parametrize(("op", "semantics"), BINARY)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("constant", [None, 0, 1])
def test_pairs_that_are_broadcast(
    op: str, semantics: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], constant: int | None
) -> None:
    rng = np.random.default_rng(5)
    whole = np.broadcast_shapes(*shapes)
    tensors, steps = [], []
    for place, shape in enumerate(shapes):
        data = random_bytes(rng, shape, "int8") if place == constant else None
        tensors.append(make_tensor(shape, "int8", (0.1, 0.07)[place], 5, data=data))
        if data is None:
            steps.append(random_bytes(rng, (3, *shape), "int8"))
    call = make_call(op, semantics, tuple(tensors), make_tensor(whole, "int8", 0.13, 2))
    run = bind(call, LEVEL)
    block = ELEMENTWISE[op, semantics]
    found = walk(*shapes)
    if block > 1 and (found.kind == "generic" or found.run % block):
        assert run is None
    else:
        np.testing.assert_array_equal(
            run_core(call, LEVEL, tuple(steps)), define_each(call, tuple(steps))
        )


@pytest.mark.parametrize("size", [5, 15, 16, 31, 16 * 17 + 9])
def test_elements_behind_whole_blocks_are_as_defined(size: int) -> None:
    """Every value at every place, before and behind the end of the last whole block."""
    semantics = "requantize-S2-blocks-of-16"
    assert ELEMENTWISE["QUANTIZE", semantics] == 16
    x = make_tensor((1, size), "int8", 0.1, 3)
    call = make_call("QUANTIZE", semantics, (x,), make_tensor((1, size), "int8", 0.21, -7))
    values = (np.arange(256)[:, np.newaxis, np.newaxis] + np.arange(size)).astype(np.uint8)
    steps = values.view(np.int8)
    np.testing.assert_array_equal(run_core(call, LEVEL, (steps,)), define_each(call, (steps,)))


def test_pairs_in_blocks_that_are_not_whole_are_left_to_the_definition() -> None:
    paired = [key for key, block in ELEMENTWISE.items() if block > 1 and key[0] in {"ADD", "SUB"}]
    assert paired
    for op, semantics in paired:
        tensors = make_tensor((1, 31), "int8", 0.1), make_tensor((1, 31), "int8", 0.2)
        call = make_call(op, semantics, tensors, make_tensor((1, 31), "int8", 0.3))
        assert bind(call, LEVEL) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    image=st.tuples(st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 3, 8, 33])),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID"]),
    activation=st.sampled_from(["NONE", "RELU6"]),
    dtype=st.sampled_from(["int8", "uint8"]),
    op=st.sampled_from(["MAX_POOL_2D", "AVERAGE_POOL_2D"]),
)
def test_pools(
    *,
    image: tuple[int, int, int],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: str,
    activation: str,
    dtype: str,
    op: str,
) -> None:
    options = {
        "filter_height": window[0],
        "filter_width": window[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "padding": padding,
        "fused_activation_function": activation,
    }
    x, y = (make_tensor((2, *image), dtype, 0.03, 7) for _ in range(2))
    call = make_call(op, "integer", (x,), y, options)
    steps = (random_bytes(np.random.default_rng(0), (3, 2, *image), dtype),)
    np.testing.assert_array_equal(run_core(call, LEVEL, steps), define_each(call, steps))


@pytest.mark.parametrize("semantics", sorted(FINISHES))
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("image", [(7, 7, 33), (1, 1, 3), (2, 5, 16)])
def test_mean(semantics: str, dtype: str, keep: bool, image: tuple[int, int, int]) -> None:
    x, y = make_tensor((2, *image), dtype, 0.03, 7), make_tensor((2, image[2]), dtype, 0.02, 5)
    axes = make_tensor((2,), "int32", data=np.array([1, 2], np.int32))
    call = make_call("MEAN", semantics, (x, axes), y, {"keep_dims": keep})
    steps = (random_bytes(np.random.default_rng(0), (3, 2, *image), dtype),)
    np.testing.assert_array_equal(run_core(call, LEVEL, steps), define_each(call, steps))
