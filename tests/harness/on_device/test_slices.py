"""Samples to invocations, where several inputs or scalars are involved."""

import numpy as np
import pytest

from harness.artifact import Manifest, TensorSpec
from harness.errors import UsageError
from harness.on_device.slices import (
    chunks,
    count_slices,
    drop_filled,
    invocations,
    join_outputs,
    output_shape,
    samples_at_once,
    take_slices,
)

PAIRS = TensorSpec("pairs", (2, 3), "int8")
SINGLE = TensorSpec("single", (1,), "float32")
SCALAR = TensorSpec("scalar", (), "float32")


def manifest(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Manifest:
    return Manifest("", 0, "litert", "", "", "", inputs, outputs)


def test_inputs_of_different_batches_hold_as_many_invocations() -> None:
    pairs, single = np.arange(15, dtype=np.int8).reshape(5, 3), np.arange(3, dtype=np.float32)
    assert count_slices((PAIRS, SINGLE), (pairs, single)) == 3
    taken = take_slices((PAIRS, SINGLE), (pairs, single), 1, 3)
    np.testing.assert_array_equal(taken[0], pairs[[2, 3, 4, 4]])
    np.testing.assert_array_equal(taken[1], single[1:])


def test_inputs_that_disagree_are_named() -> None:
    pairs, single = np.zeros((5, 3), np.int8), np.zeros(4, np.float32)
    with pytest.raises(UsageError, match="'pairs': 3, 'single': 4"):
        count_slices((PAIRS, SINGLE), (pairs, single))


def test_a_scalar_is_one_entry_an_invocation() -> None:
    assert output_shape(SCALAR, 4) == (4,)
    assert count_slices((SCALAR,), (np.zeros(4, np.float32),)) == 4


TABLE = TensorSpec("table", (3, 2), "int16", batched=False)


def test_an_input_of_one_invocation_is_given_with_every_one() -> None:
    table = np.arange(6, dtype=np.int16).reshape(3, 2)
    given = (table, np.arange(15, dtype=np.int8).reshape(5, 3), np.ones(1, np.float32))
    specs = (TABLE, PAIRS, SCALAR)
    assert count_slices(specs, given) == 3
    assert samples_at_once(specs) == 2
    taken = take_slices(specs, given, 0, 3)
    np.testing.assert_array_equal(taken[0], np.concatenate([table] * 3))
    np.testing.assert_array_equal(taken[2], [1, 1, 1])
    for number, each in enumerate(invocations(specs, given)):
        assert [x.shape for x in each] == [spec.shape for spec in specs]
        np.testing.assert_array_equal(each[0], table)
        np.testing.assert_array_equal(each[1], taken[1][2 * number : 2 * number + 2])
    assert number == 2
    assert len(list(invocations(specs, given, 1))) == 1


def test_only_outputs_that_are_batches_lose_the_filling() -> None:
    given = (np.zeros((3, 2), np.int16), np.zeros((5, 3), np.int8))
    outputs = (np.zeros((6, 3), np.int8), np.zeros((9, 2), np.int16), np.zeros(3, np.float32))
    kept = drop_filled((TABLE, PAIRS), given, outputs, (PAIRS, TABLE, SCALAR))
    assert [len(x) for x in kept] == [5, 9, 3]
    whole = drop_filled(
        (TABLE, PAIRS), (given[0], np.zeros((6, 3), np.int8)), outputs, (PAIRS,) * 3
    )
    assert [len(x) for x in whole] == [6, 9, 3]


def test_chunks_cover_every_invocation_once_and_never_are_empty() -> None:
    whole = manifest((PAIRS,), (SCALAR,))  # 6 + 4 bytes an invocation
    assert list(chunks(whole, 5, 20)) == [(0, 2), (2, 4), (4, 5)]
    assert list(chunks(whole, 2, 1)) == [(0, 1), (1, 2)]


def test_outputs_without_a_batch_are_not_cut() -> None:
    made = manifest((PAIRS,), (PAIRS, SCALAR))
    parts = [
        (np.zeros((4, 3), np.int8), np.zeros(2, np.float32)),
        (np.ones((2, 3), np.int8), np.ones(1, np.float32)),
    ]
    rows, scalars = join_outputs(made, parts, (np.zeros((5, 3), np.int8),))
    assert rows.shape == (5, 3)
    np.testing.assert_array_equal(scalars, [0, 0, 1])
