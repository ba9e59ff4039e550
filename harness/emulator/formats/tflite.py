"""Reads a `.tflite` file into the emulator's graph form. The file is untrusted.

The schema's accessors never read outside the buffer; here every count, index, shape and length is
checked besides, shared sub-objects are charged every time they are read, and whatever is wrong
ends in a ModelError that names the file and the reason.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.model_content import (
    TFLITE,
    ReadError,
    content_of,
    naming_what_is_broken,
)
from harness.emulator.formats.sparse import dense_values
from harness.emulator.formats.tflite_options import NAMES, op_name, read_custom, read_options
from harness.emulator.graph import (
    Array,
    Blocks,
    EntryPoint,
    Graph,
    Model,
    Node,
    Quantization,
    Tensor,
)

MAX_RANK = 8
MAX_ELEMENTS = 1 << 26
MAX_COMPUTED_BYTES = 1 << 30

_PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2}
_STORED = {"int4": "int8", "uint4": "uint8", "int2": "int8"}
_BLOCKWISE = schema.QuantizationDetails.BlockwiseQuantization
_OPAQUE = {
    "string",
    "complex32",
    "complex128",
    "resource",
    "variant",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
}


def stored_dtype(dtype: str) -> np.dtype[Any] | None:
    """The numpy dtype that holds values of a tensor's dtype; None when there is none."""
    return None if dtype in _OPAQUE else np.dtype(_STORED.get(dtype, dtype))


def read_tflite(source: Path | bytes, *, where: str = "model") -> Model:
    """Read a TFLite model.

    Args:
        source: the file, or its content.
        where: what to call the model in messages when `source` is bytes.

    Raises:
        UsageError: the file cannot be read.
        ModelError: it is broken, or exceeds a limit.
    """
    content, where = content_of(source, where)
    with naming_what_is_broken(where, TFLITE):
        return _Reader(content).model()


class _Reader:
    """One pass over one file, with a budget for what shared sub-objects may cost."""

    def __init__(self, content: bytes) -> None:
        if len(content) < 8 or content[4:8] != b"TFL3":
            raise ReadError(
                f"{len(content)} bytes without the identifier TFL3 at byte 4"
                if content
                else "the file is empty"
            )
        self._content = content
        self._budget = 16 * len(content) + (1 << 16)
        self._dense_bytes = 0
        self._root = schema.Model.GetRootAs(content, 0)

    def model(self) -> Model:
        root = self._root
        codes = [
            root.OperatorCodes(i)
            for i in range(self._count(root.OperatorCodesLength(), "operator codes"))
        ]
        self._ops = [(op_name(code), int(code.Version())) for code in codes]
        self._buffers = self._count(root.BuffersLength(), "buffers")
        graphs = self._count(root.SubgraphsLength(), "subgraphs")
        if not graphs:
            raise ReadError("it has no subgraph")
        alone = tuple(self._graph(root.Subgraphs(i), i) for i in range(graphs))
        read = tuple(replace(graph, library=alone) for graph in alone)
        entry_points = tuple(
            self._entry_point(root.SignatureDefs(i), read)
            for i in range(self._count(root.SignatureDefsLength(), "signatures"))
        )
        return Model(read, entry_points)

    def _count(self, count: int, what: str, unit: int = 4) -> int:
        """A vector's length, checked against the file's size and charged to the budget."""
        self._budget -= count * unit
        if count * unit > len(self._content) or self._budget < 0:
            raise ReadError(f"{count} {what} do not fit into {len(self._content)} bytes")
        return count

    def _text(self, text: bytes | None) -> str:
        self._budget -= len(text or b"")
        return (text or b"").decode("utf-8", errors="replace")

    def _indices(
        self, vector: npt.NDArray[np.int32] | int, limit: int, what: str, lowest: int = 0
    ) -> tuple[int, ...]:
        if isinstance(vector, int):  # the accessor's 0: no such vector
            return ()
        self._count(len(vector), what)
        indices = tuple(int(i) for i in vector)
        wrong = next((i for i in indices if not lowest <= i < limit), None)
        if wrong is not None:
            raise ReadError(f"{what}: tensor {wrong}, there are {limit}")
        return indices

    def _graph(self, graph: schema.SubGraph, index: int) -> Graph:
        tensors = tuple(
            self._tensor(graph.Tensors(i), i)
            for i in range(self._count(graph.TensorsLength(), "tensors"))
        )
        tensors = tuple(
            replace(tensor, blocks=self._blocks(graph.Tensors(i), tensor, tensors))
            for i, tensor in enumerate(tensors)
        )
        nodes = tuple(
            self._node(graph.Operators(i), i, len(tensors))
            for i in range(self._count(graph.OperatorsLength(), "operators"))
        )
        inputs = self._indices(graph.InputsAsNumpy(), len(tensors), "graph inputs")
        outputs = self._indices(graph.OutputsAsNumpy(), len(tensors), "graph outputs")
        result = Graph(self._text(graph.Name()) or f"graph{index}", tensors, nodes, inputs, outputs)
        check_flow(result)
        return replace(result, tensors=self._densified(graph, result))

    def _densified(self, graph: schema.SubGraph, read: Graph) -> tuple[Tensor, ...]:
        """The tensors, where what DENSIFY makes of a sparse constant is a constant itself: so it is
        to the runtime, which may never fill it."""
        tensors = list(read.tensors)
        for node in read.nodes:
            if node.op != "DENSIFY" or len(node.inputs) != 1 or len(node.outputs) != 1:
                continue
            sparse, dense = tensors[node.inputs[0]], tensors[node.outputs[0]]
            stored, place = stored_dtype(sparse.dtype), graph.Tensors(sparse.index)
            content = self._buffer(place.Buffer(), f"tensor {sparse.index}")
            if place.Sparsity() is None or content is None or stored is None:
                continue
            if (dense.shape, dense.dtype) != (sparse.shape, sparse.dtype):
                raise ReadError(f"node {node.index} (DENSIFY) changes the shape or dtype")
            self._dense_bytes += math.prod(sparse.shape) * stored.itemsize
            if self._dense_bytes > MAX_COMPUTED_BYTES:
                raise ReadError(f"sparse tensors fill more than {MAX_COMPUTED_BYTES} bytes")
            values = np.frombuffer(content, stored, len(content) // stored.itemsize)
            data = dense_values(place.Sparsity(), sparse.shape, values)
            tensors[dense.index] = replace(dense, data=data)
        return tuple(tensors)

    def _tensor(self, tensor: schema.Tensor, index: int) -> Tensor:
        where = f"tensor {index}"
        dtype = NAMES["type"][tensor.Type()].lower()
        rank = self._count(tensor.ShapeLength(), f"dimensions of {where}")
        if rank > MAX_RANK:
            raise ReadError(f"{where} has {rank} dimensions, allowed: {MAX_RANK}")
        shape = tuple(int(d) for d in tensor.ShapeAsNumpy()) if rank else ()
        elements = math.prod(shape)
        if any(d < 0 for d in shape) or math.prod(max(1, d) for d in shape) > MAX_ELEMENTS:
            raise ReadError(f"{where} has shape {list(shape)}, allowed: {MAX_ELEMENTS} elements")
        return Tensor(
            index,
            self._text(tensor.Name()),
            shape,
            dtype,
            self._quantization(tensor, shape, where),
            self._data(tensor, dtype, shape, elements, where),
            bool(tensor.IsVariable()),
            self._signature(tensor, where),
        )

    def _signature(self, tensor: schema.Tensor, where: str) -> tuple[int, ...]:
        """The declared sizes, -1 for those that may change; empty when none may."""
        rank = self._count(tensor.ShapeSignatureLength(), f"declared dimensions of {where}")
        declared = tuple(int(tensor.ShapeSignature(i)) for i in range(rank))
        return declared if -1 in declared else ()

    def _quantization(
        self, tensor: schema.Tensor, shape: tuple[int, ...], where: str
    ) -> Quantization | None:
        found = tensor.Quantization()
        if found is None or found.DetailsType() or not found.ScaleLength():
            return None
        count = self._count(found.ScaleLength(), f"scales of {where}")
        scales = found.ScaleAsNumpy().astype(np.float32)
        if not np.all(np.isfinite(scales) & (scales >= 0)):
            raise ReadError(f"{where} has a scale that is negative or not finite")
        points = self._count(found.ZeroPointLength(), f"zero points of {where}", 8)
        if points not in {0, 1, count}:
            raise ReadError(f"{where} has {count} scales and {points} zero points")
        zero_points = (
            np.broadcast_to(found.ZeroPointAsNumpy().astype(np.int64), count)
            if points
            else np.zeros(count, np.int64)
        )
        axis = int(found.QuantizedDimension())
        if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
            raise ReadError(f"{where} has {count} scales along axis {axis} of {list(shape)}")
        quantization = Quantization(scales, zero_points, axis)
        if not quantization.zero_points_are_int32:
            raise ReadError(f"{where} has a zero point outside int32")
        return quantization

    def _blocks(
        self, stored: schema.Tensor, tensor: Tensor, tensors: tuple[Tensor, ...]
    ) -> Blocks | None:
        """The scales of a tensor that is quantized by blocks, which another tensor holds.

        Zero points are not read: no runtime's kernel looks at them.
        """
        found = stored.Quantization()
        if found is None or found.DetailsType() != _BLOCKWISE or found.Details() is None:
            return None
        details = schema.BlockwiseQuantization()
        details.Init(found.Details().Bytes, found.Details().Pos)
        where, place, size = f"tensor {tensor.index}", details.Scales(), details.BlockSize()
        if not 0 <= place < len(tensors):
            raise ReadError(f"scales of {where}: tensor {place}, there are {len(tensors)}")
        scales, elements = tensors[place].data, math.prod(tensor.shape)
        if len(tensor.shape) != 2 or size < 1 or tensor.shape[1] % size:
            raise ReadError(f"{where} of shape {list(tensor.shape)} has blocks of {size}")
        if scales is None or scales.dtype != np.float16 or scales.size * size != elements:
            raise ReadError(f"the scales of {where} are not one constant float16 for each block")
        self._budget -= scales.size
        if not np.all(np.isfinite(scales) & (scales >= 0)):
            raise ReadError(f"{where} has a scale that is negative or not finite")
        return Blocks(scales.astype(np.float32).reshape(tensor.shape[0], -1), int(size))

    def _data(
        self, tensor: schema.Tensor, dtype: str, shape: tuple[int, ...], elements: int, where: str
    ) -> Array | None:
        index = tensor.Buffer()
        if index >= self._buffers:
            raise ReadError(f"{where} is in buffer {index}, there are {self._buffers}")
        content = self._buffer(index, where)
        stored = stored_dtype(dtype)
        if content is None or stored is None or tensor.Sparsity() is not None:
            return None
        bits = _PACKED_BITS.get(dtype)
        expected = elements * stored.itemsize if bits is None else -(-elements * bits // 8)
        if len(content) != expected:
            raise ReadError(
                f"{where} ({dtype} {list(shape)}) needs {expected} bytes, "
                f"its buffer has {len(content)}"
            )
        if bits is None:
            return np.frombuffer(content, stored).reshape(shape)
        self._budget -= elements
        return _unpack_bits(content, bits, stored)[:elements].reshape(shape)

    def _buffer(self, index: int, where: str) -> memoryview | None:
        """The bytes of a buffer, in the flatbuffer or behind it; None when it has none."""
        buffer = self._root.Buffers(index)
        if buffer.DataLength():
            return memoryview(buffer.DataAsNumpy())
        offset, size = buffer.Offset(), buffer.Size()
        if offset <= 1:
            return None
        if offset + size > len(self._content):
            raise ReadError(f"{where} lies at byte {offset}, behind the end of the file")
        return memoryview(self._content)[offset : offset + size]

    def _node(self, operator: schema.Operator, index: int, tensors: int) -> Node:
        where = f"node {index}"
        code = operator.OpcodeIndex()
        if code >= len(self._ops):
            raise ReadError(f"{where} has operator code {code}, there are {len(self._ops)}")
        inputs = self._indices(operator.InputsAsNumpy(), tensors, f"inputs of {where}", -1)
        outputs = self._indices(operator.OutputsAsNumpy(), tensors, f"outputs of {where}")
        inside = self._indices(
            operator.IntermediatesAsNumpy(), tensors, f"intermediates of {where}"
        )
        options = read_options(operator) or read_custom(self._ops[code][0], operator)
        self._budget -= sum(len(v) for v in options.values() if isinstance(v, tuple | str))
        op, version = self._ops[code]
        return Node(index, op, inputs, outputs, options, version, inside)

    def _entry_point(self, signature: schema.SignatureDef, graphs: tuple[Graph, ...]) -> EntryPoint:
        name, graph = self._text(signature.SignatureKey()), signature.SubgraphIndex()
        if graph >= len(graphs):
            raise ReadError(f"signature {name!r} names subgraph {graph}, there are {len(graphs)}")
        limit = len(graphs[graph].tensors)

        def names(length: int, at: Callable[[int], schema.TensorMap]) -> dict[str, int]:
            entries = [at(i) for i in range(self._count(length, f"names in signature {name!r}"))]
            wrong = [e.TensorIndex() for e in entries if e.TensorIndex() >= limit]
            if wrong:
                raise ReadError(f"signature {name!r}: tensor {wrong[0]}, there are {limit}")
            return {self._text(e.Name()): int(e.TensorIndex()) for e in entries}

        return EntryPoint(
            name,
            int(graph),
            names(signature.InputsLength(), signature.Inputs),
            names(signature.OutputsLength(), signature.Outputs),
        )


def _unpack_bits(content: memoryview, bits: int, stored: np.dtype[Any]) -> Array:
    """Values of 4 or 2 bits, the lowest bits of a byte first, sign-extended when signed."""
    packed = np.frombuffer(content, np.uint8)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = ((packed[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)
    if stored.kind == "i":
        sign = 1 << (bits - 1)
        return ((fields.astype(np.int16) ^ sign) - sign).astype(stored)
    return fields.astype(stored)


def check_flow(graph: Graph) -> None:
    """Each tensor is made once, constants are never made, and what is computed fits in memory."""
    made = set(graph.inputs)
    for node in graph.nodes:
        for output in node.outputs:
            tensor = graph.tensors[output]
            if output in made or tensor.data is not None:
                raise ReadError(
                    f"node {node.index} ({node.op}) writes tensor {output} ({tensor.name!r}), "
                    f"which is {'constant' if tensor.data is not None else 'already written'}"
                )
            made.add(output)
    total = 0
    for index in made:
        tensor = graph.tensors[index]
        stored = stored_dtype(tensor.dtype)
        total += int(np.prod(tensor.shape, dtype=np.int64)) * (stored.itemsize if stored else 1)
    if total > MAX_COMPUTED_BYTES:
        raise ReadError(
            f"graph {graph.name!r} computes {total} bytes of tensors, allowed: {MAX_COMPUTED_BYTES}"
        )
