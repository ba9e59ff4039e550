"""Sparse constants of a `.tflite`: dimensions that are dense or compressed rows, then blocks."""

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.model_content import ReadError
from harness.emulator.graph import Array

_DENSE = schema.DimensionType.DENSE
_INDICES = {
    schema.SparseIndexVector.Int32Vector: schema.Int32Vector,
    schema.SparseIndexVector.Uint16Vector: schema.Uint16Vector,
    schema.SparseIndexVector.Uint8Vector: schema.Uint8Vector,
}


def dense_values(sparsity: schema.SparsityParameters, shape: tuple[int, ...], kept: Array) -> Array:
    """Every value of a sparse tensor, zeros included.

    The dimensions are walked in the order of traversal; behind those of the shape come those of the
    blocks, each of which divides the dimension that the block map names.

    Source: LiteRT kernels/internal/utils/sparsity_format_converter.cc, FormatConverter.

    Args:
        sparsity: from the file, untrusted.
        shape: of the tensor.
        kept: the values that are stored, in the order of traversal.

    Raises:
        ReadError: it contradicts itself, the shape or the number of values.
    """
    order = _integers(sparsity.TraversalOrderAsNumpy())
    blocks = _integers(sparsity.BlockMapAsNumpy())
    rank, levels = len(shape), sparsity.DimMetadataLength()
    if sorted(order) != list(range(rank + len(blocks))) or levels != len(order):
        raise ReadError(f"a sparse tensor of {list(shape)} is walked in order {order}")
    if any(not 0 <= axis < rank for axis in blocks) or len(set(blocks)) < len(blocks):
        raise ReadError(f"a sparse tensor of {list(shape)} has blocks along {blocks}")
    sizes = _sizes(sparsity, shape, order, blocks)
    # The coordinate along each axis of every value reached so far, level by level.
    coordinates = np.zeros((len(order), 1), np.int64)
    for level, axis in enumerate(order):
        counts, at = _level(sparsity.DimMetadata(level), coordinates.shape[1], sizes[axis])
        if counts.sum() > max(len(kept), math.prod(shape)):
            raise ReadError("a sparse tensor has more places than values")
        coordinates = np.repeat(coordinates, counts, axis=1)
        coordinates[axis] = at
    if coordinates.shape[1] != len(kept):
        raise ReadError(f"a sparse tensor has {coordinates.shape[1]} places, {len(kept)} values")
    for position, axis in enumerate(blocks):
        coordinates[axis] = (
            coordinates[axis] * sizes[rank + position] + coordinates[rank + position]
        )
    dense = np.zeros(shape, kept.dtype)
    dense[tuple(coordinates[:rank])] = kept
    return dense


def _integers(vector: Any) -> list[int]:  # noqa: ANN401  the accessor's 0 stands for no vector
    return [] if isinstance(vector, int) else [int(n) for n in vector]


def _sizes(
    sparsity: schema.SparsityParameters, shape: tuple[int, ...], order: list[int], blocks: list[int]
) -> list[int]:
    """Of each axis, those of the blocks last."""
    rank = len(shape)
    sizes = [*shape, *(0 for _ in blocks)]
    for level, axis in enumerate(order):
        if axis >= rank:
            sizes[axis] = int(sparsity.DimMetadata(level).DenseSize())
    for position, axis in enumerate(blocks):
        size = sizes[rank + position]
        if size < 1 or shape[axis] % size:
            raise ReadError(f"blocks of {size} along an axis of {shape[axis]}")
        sizes[axis] //= size
    return sizes


def _level(found: schema.DimensionMetadata, places: int, size: int) -> tuple[Array, Array]:
    """How many places each place so far has below it, and their coordinates along the axis."""
    if found.Format() == _DENSE:
        if found.DenseSize() != size:
            raise ReadError(f"a dense dimension of {found.DenseSize()}, expected {size}")
        return np.full(places, size), np.tile(np.arange(size), places)
    segments = _vector(found.ArraySegmentsType(), found.ArraySegments())
    indices = _vector(found.ArrayIndicesType(), found.ArrayIndices())
    counts = np.diff(segments)
    wrong = len(segments) != places + 1 or segments[0] != 0 or segments[-1] != len(indices)
    if wrong or np.any(counts < 0) or np.any((indices < 0) | (indices >= size)):
        raise ReadError("a compressed dimension contradicts itself")
    return counts, indices


def _vector(kind: int, table: Any) -> Array:  # noqa: ANN401  a flatbuffer's table without a type
    vector = _INDICES.get(kind)
    if vector is None or table is None:
        raise ReadError("a compressed dimension has no indices")
    found = vector()
    found.Init(table.Bytes, table.Pos)
    values = found.ValuesAsNumpy()
    return np.zeros(0, np.int64) if isinstance(values, int) else values.astype(np.int64)
