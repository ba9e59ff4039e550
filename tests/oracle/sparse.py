"""Writes sparse constants of a `.tflite`: rows of single values, or rows of dense blocks."""

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tests.oracle.build import Builder

Array = npt.NDArray[Any]


def _dense(size: int) -> Any:
    found = schema.DimensionMetadataT()
    found.format, found.denseSize = schema.DimensionType.DENSE, size
    return found


def _compressed(segments: list[int], indices: list[int]) -> Any:
    found = schema.DimensionMetadataT()
    found.format = schema.DimensionType.SPARSE_CSR
    for name, values, kind in (("Segments", segments, "Int32"), ("Indices", indices, "Uint16")):
        vector = getattr(schema, f"{kind}VectorT")()
        vector.values = np.array(values, np.int32 if kind == "Int32" else np.uint16)
        setattr(found, f"array{name}Type", getattr(schema.SparseIndexVector, f"{kind}Vector"))
        setattr(found, f"array{name}", vector)
    return found


def sparse_constant(builder: Builder, matrix: Array, block: tuple[int, int] = (1, 1)) -> int:
    """A matrix of which only blocks with a value other than 0 are stored."""
    rows, columns = (size // side for size, side in zip(matrix.shape, block, strict=True))
    values: list[Array] = []
    segments, indices = [0], []
    for row in range(rows):
        for column in range(columns):
            part = matrix[row * block[0] :, column * block[1] :][: block[0], : block[1]]
            if np.any(part):
                values.append(part.reshape(-1))
                indices.append(column)
        segments.append(len(indices))
    stored = np.concatenate(values)
    index = builder.constant(stored, matrix.dtype.name)
    tensor = builder.tensors[index]
    tensor.shape = np.array(matrix.shape, np.int32)
    tensor.sparsity = schema.SparsityParametersT()
    blocked = block != (1, 1)
    tensor.sparsity.traversalOrder = np.arange(4 if blocked else 2, dtype=np.int32)
    tensor.sparsity.blockMap = np.arange(2 if blocked else 0, dtype=np.int32)
    metadata = [_dense(rows), _compressed(segments, indices)]
    tensor.sparsity.dimMetadata = [*metadata, *(_dense(side) for side in block if blocked)]
    return index
