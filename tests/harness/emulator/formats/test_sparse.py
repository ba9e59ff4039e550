"""DENSIFY: what it makes of a sparse constant is a constant, as the runtime has it."""

from typing import Any

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.formats.tflite_all_tensors import exposed_tensors
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from tests.oracle.build import Builder, options
from tests.oracle.runtimes import run
from tests.oracle.sparse import sparse_constant

RNG = np.random.default_rng(3)


def matrix(rows: int, columns: int, block: tuple[int, int]) -> Any:
    """Small whole numbers, so that sums of products are the same in any order."""
    kept = RNG.random((rows // block[0], columns // block[1])) < 0.3
    kept[0, 0] = True
    values = RNG.integers(-4, 5, (rows, columns)).astype(np.float32)
    return values * np.kron(kept, np.ones(block, np.float32)).astype(np.float32)


def densified(weights: Any, block: tuple[int, int]) -> Builder:
    builder = Builder()
    builder.tensor([3, weights.shape[1]], "float32")
    sparse = sparse_constant(builder, weights, block)
    dense = builder.tensor(list(weights.shape), "float32")
    builder.op("DENSIFY", [sparse], [dense], None)
    y = builder.tensor([3, weights.shape[0]], "float32")
    builder.op("FULLY_CONNECTED", [0, dense, -1], [y], options("FullyConnected"))
    return builder


@pytest.mark.parametrize("block", [(1, 1), (4, 1), (1, 16), (2, 8)])
def test_a_sparse_constant_is_as_the_runtime_has_it(block: tuple[int, int]) -> None:
    weights = matrix(8, 48, block)
    content = densified(weights, block).finish([0], [3])
    graph = read_tflite(content).main
    np.testing.assert_array_equal(graph.tensors[2].data, weights)
    x = RNG.integers(-8, 9, (3, 48)).astype(np.float32)
    (y,) = emulate(graph, get_profile("litert-ref"), [x]).outputs
    answer = run(content, [x], "reference")
    assert answer.error == ""
    np.testing.assert_array_equal(answer.tensors[3], y)
    np.testing.assert_array_equal(y, x @ weights.T)


def test_what_is_made_of_it_is_not_asked_of_the_runtime() -> None:
    graph = read_tflite(densified(matrix(8, 48, (1, 1)), (1, 1)).finish([0], [3])).main
    assert exposed_tensors(graph) == (3,)


def change_order(sparsity: Any) -> None:
    sparsity.traversalOrder = np.array([0, 0], np.int32)


def change_size(sparsity: Any) -> None:
    sparsity.dimMetadata[0].denseSize = 9


def change_index(sparsity: Any) -> None:
    sparsity.dimMetadata[1].arrayIndices.values[-1] = 48


def change_segment(sparsity: Any) -> None:
    sparsity.dimMetadata[1].arraySegments.values[1] = 1 << 30


def forget_indices(sparsity: Any) -> None:
    sparsity.dimMetadata[1].arrayIndicesType = 0
    sparsity.dimMetadata[1].arrayIndices = None


@pytest.mark.parametrize(
    "damage", [change_order, change_size, change_index, change_segment, forget_indices]
)
def test_a_damaged_one_is_refused(damage: Any) -> None:
    builder = densified(matrix(8, 48, (1, 1)), (1, 1))
    damage(builder.tensors[1].sparsity)
    with pytest.raises(ModelError, match=r"sparse|dimension"):
        read_tflite(builder.finish([0], [3]))
