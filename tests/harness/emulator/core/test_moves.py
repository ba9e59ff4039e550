"""Moves, products of computed matrices and SOFTMAX by a table equal their definitions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulator.core import available_levels
from harness.emulator.core.bindings import bind
from harness.emulator.core.nodes import NodeRun
from harness.emulator.graph import Array, Tensor
from tests.harness.emulator.core.calls import (
    define_each,
    make_call,
    make_tensor,
    random_bytes,
    run_core,
)

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")

LEVEL = (available_levels() or ("",))[0]
EACH_LEVEL = pytest.mark.parametrize("level", available_levels())


def of_sizes(*values: Any) -> Tensor:
    data = np.array(values, np.int32)
    return make_tensor(data.shape, "int32", data=data)


MOVES: list[tuple[str, tuple[int, ...], tuple[Tensor, ...], dict[str, Any]]] = [
    ("TRANSPOSE", (1, 3, 4, 5), (of_sizes(0, 2, 3, 1),), {}),
    ("TRANSPOSE", (3, 4), (of_sizes(1, 0),), {}),
    ("TRANSPOSE", (2, 3, 4), (of_sizes(0, 1, 2),), {}),
    ("PAD", (1, 3, 2, 2), (of_sizes([0, 0], [1, 2], [0, 1], [0, 0]),), {}),
    ("PAD", (2, 3), (of_sizes([0, 0], [0, 0]),), {}),
    ("PADV2", (2, 3), (of_sizes([1, 0], [0, 3]),), {}),
    ("SLICE", (3, 4, 5), (of_sizes(1, 0, 2), of_sizes(2, 3, -1)), {}),
    (
        "STRIDED_SLICE",
        (4, 6),
        (of_sizes(1, 5), of_sizes(4, 0), of_sizes(2, -2)),
        {"begin_mask": 0, "end_mask": 0},
    ),
    ("MIRROR_PAD", (3, 4), (of_sizes([1, 1], [2, 0]),), {"mode": "REFLECT"}),
    ("REVERSE_V2", (3, 4), (of_sizes(1),), {}),
    ("TILE", (2, 3), (of_sizes(2, 3),), {}),
    ("DEPTH_TO_SPACE", (1, 2, 3, 8), (), {"block_size": 2}),
    ("SPACE_TO_DEPTH", (1, 4, 6, 2), (), {"block_size": 2}),
    ("SPACE_TO_BATCH_ND", (1, 4, 6, 2), (of_sizes(2, 2), of_sizes([0, 0], [1, 1])), {}),
    ("BATCH_TO_SPACE_ND", (4, 2, 3, 2), (of_sizes(2, 2), of_sizes([0, 0], [0, 1])), {}),
]


def any_values(dtype: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(1)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return random_bytes(rng, shape, dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("place", range(len(MOVES)))
def test_moves(place: int, dtype: str) -> None:
    op, shape, constants, options = MOVES[place]
    zero = {"int8": -5, "uint8": 130, "int16": 0}.get(dtype, 0)
    x = make_tensor(shape, dtype, 0.5, zero)
    if op == "PADV2":
        constants = (*constants, make_tensor((1,), dtype, 0.5, zero, data=np.array([7], dtype)))
    steps = (any_values(dtype, (3, *shape)),)
    output = make_tensor(shape, dtype, 0.5, zero)
    call = make_call(op, "move", (x, *constants), output, options)
    expected = define_each(call, steps)
    call = make_call(
        op, "move", (x, *constants), make_tensor(expected.shape[1:], dtype, 0.5, zero), options
    )
    run = bind(call, LEVEL)
    if dtype == "float32" and op in {"PAD", "PADV2", "SPACE_TO_BATCH_ND"} and run is None:
        return  # floats that fill are the definition's
    assert isinstance(run, NodeRun)
    got = run_core(call, LEVEL, steps)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_moves_by_computed_places_are_left_to_the_definition() -> None:
    x, places = make_tensor((3, 4), "int8"), make_tensor((2,), "int32")
    assert bind(make_call("TRANSPOSE", "move", (x, places), x), LEVEL) is None


@EACH_LEVEL
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 7, 16, 33, 64, 65, 130])] * 3),
    turned=st.tuples(st.booleans(), st.booleans()),
    semantics=st.sampled_from([f"S{n}:product" for n in range(1, 8)]),
    dtype=st.sampled_from(["int8", "uint8"]),
    seed=st.integers(0, 1000),
)
def test_products_of_computed_matrices(
    level: str,
    *,
    sizes: tuple[int, int, int],
    turned: tuple[bool, bool],
    semantics: str,
    dtype: str,
    seed: int,
) -> None:
    (rows, depth, columns), rng = sizes, np.random.default_rng(seed)
    zeros = rng.integers(100, 156, 3) - (128 if dtype == "int8" else 0)
    scale = 2.0**-8 if seed % 2 else 0.0037
    a = make_tensor((2, depth, rows) if turned[0] else (2, rows, depth), dtype, 0.5, int(zeros[0]))
    b = make_tensor(
        (2, columns, depth) if turned[1] else (2, depth, columns), dtype, scale, int(zeros[1])
    )
    y = make_tensor((2, rows, columns), dtype, float(depth**0.5), int(zeros[2]))
    options = {"adj_x": turned[0], "adj_y": turned[1]}
    call = make_call("BATCH_MATMUL", semantics, (a, b), y, options)
    steps = tuple(random_bytes(rng, (3, *t.shape), dtype) for t in (a, b))
    np.testing.assert_array_equal(run_core(call, level, steps), define_each(call, steps))


@pytest.mark.parametrize("semantics", ["exp-table", "exp-table-half-added"])
@pytest.mark.parametrize(("taken", "given"), [("int8", "int8"), ("uint8", "uint8")])
@pytest.mark.parametrize("depth", [1, 2, 10, 64, 255, 1001])
def test_softmax(semantics: str, taken: str, given: str, depth: int) -> None:
    rng = np.random.default_rng(depth)
    for s_x, s_y in ((0.1, 1 / 256), (2.0, 1 / 256), (0.003, 1 / 200)):
        x = make_tensor((4, depth), taken, s_x, 3)
        y = make_tensor((4, depth), given, s_y, -128 if given == "int8" else 0)
        call = make_call("SOFTMAX", semantics, (x,), y, {"beta": 1.0})
        steps = random_bytes(rng, (6, 4, depth), taken)
        steps[0] = np.iinfo(taken).min
        steps[1] = np.sort(steps[1], axis=-1)
        np.testing.assert_array_equal(run_core(call, LEVEL, (steps,)), define_each(call, (steps,)))
