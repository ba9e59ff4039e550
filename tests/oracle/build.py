"""Writes small .tflite files from Python: tensors, constants, ops; no converter involved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

Array = npt.NDArray[Any]

_TYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int32": "INT32",
    "uint8": "UINT8",
    "int64": "INT64",
    "bool": "BOOL",
    "int16": "INT16",
    "int8": "INT8",
    "uint32": "UINT32",
    "uint16": "UINT16",
    "int4": "INT4",
    "int2": "INT2",
    "resource": "RESOURCE",
    "complex64": "COMPLEX64",
}


@dataclass(frozen=True)
class Quant:
    """Scales and zero points; more than one along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


def per_tensor(scale: float, zero_point: int = 0) -> Quant:
    return Quant((float(np.float32(scale)),), (int(zero_point),))


@dataclass
class Builder:
    """One subgraph in the making; every method returns the new tensor's index."""

    tensors: list[Any] = field(default_factory=list)
    ops: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    codes: list[Any] = field(default_factory=list)

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        quant: Quant | None = None,
        *,
        variable: bool = False,
        buffer: int = 0,
        free_axes: Sequence[int] = (),
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.hasRank = True
        tensor.type = getattr(schema.TensorType, _TYPES[dtype])
        tensor.name = f"t{len(self.tensors)}"
        tensor.buffer = buffer
        tensor.isVariable = variable
        if free_axes:
            signature = [-1 if axis in free_axes else n for axis, n in enumerate(shape)]
            tensor.shapeSignature = np.array(signature, np.int32)
        if quant is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(quant.scale, np.float32)
            tensor.quantization.zeroPoint = np.array(quant.zero_point, np.int64)
            tensor.quantization.quantizedDimension = quant.axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(
        self,
        values: npt.ArrayLike,
        dtype: str,
        quant: Quant | None = None,
        *,
        shape: Sequence[int] | None = None,
    ) -> int:
        """A tensor with data; `shape` only where it is not the array's own (packed int4)."""
        array = np.ascontiguousarray(values, np.uint8 if dtype in {"int4", "int2"} else dtype)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.tensor(
            array.shape if shape is None else shape, dtype, quant, buffer=len(self.buffers) - 1
        )

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        *,
        version: int = 1,
        intermediates: Sequence[int] = (),
    ) -> None:
        """Add a node; `options` is an object of the schema's ``…OptionsT`` class, or the mapping
        that a custom operator takes."""
        node = schema.OperatorT()
        builtin = getattr(schema.BuiltinOperator, name, None)
        if builtin is None:
            node.opcodeIndex = self._custom_code(name)
            node.customOptions = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
            options = None
        else:
            node.opcodeIndex = self._code(builtin, version)
        node.inputs = np.array(inputs, np.int32)
        node.outputs = np.array(outputs, np.int32)
        if intermediates:
            node.intermediates = np.array(intermediates, np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            node.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            node.builtinOptions = options
        self.ops.append(node)

    def _code(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self.codes):
            if (code.builtinCode, code.version) == (builtin, version):
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = builtin
        code.deprecatedBuiltinCode = min(builtin, 127)
        code.version = version
        self.codes.append(code)
        return len(self.codes) - 1

    def _custom_code(self, name: str) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = code.builtinCode
        code.customCode = name
        self.codes.append(code)
        return len(self.codes) - 1

    def subgraph(self) -> "Builder":
        """Another subgraph of the same file."""
        return Builder(buffers=self.buffers, codes=self.codes)

    def finish(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        signature: bool = False,
        others: Sequence["Part"] = (),
        signatures: Mapping[str, int] | None = None,
    ) -> bytes:
        """The file's bytes.

        Args:
            inputs, outputs: of this subgraph, the main one.
            signature: name them in a signature.
            others: the other subgraphs.
            signatures: names of signatures, and the subgraph of each.
        """
        parts = [(self, inputs, outputs), *others]
        model = schema.ModelT()
        model.version = 3
        model.subgraphs = [_subgraph(f"graph{i}", *part) for i, part in enumerate(parts)]
        model.subgraphs[0].name = "main"
        model.operatorCodes = self.codes
        model.buffers = self.buffers
        wanted = {"serving_default": 0} if signature else dict(signatures or {})
        model.signatureDefs = [
            _signature(name, index, *parts[index][1:]) for name, index in wanted.items()
        ]
        packer = flatbuffers.Builder(1024)
        packer.Finish(model.Pack(packer), b"TFL3")
        return bytes(packer.Output())


Part = tuple[Builder, Sequence[int], Sequence[int]]
"""A subgraph with its inputs and outputs."""


def _subgraph(name: str, part: Builder, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    graph = schema.SubGraphT()
    graph.name = name
    graph.tensors = part.tensors
    graph.operators = part.ops
    graph.inputs = np.array(inputs, np.int32)
    graph.outputs = np.array(outputs, np.int32)
    return graph


def _signature(key: str, graph: int, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    def named(prefix: str, tensors: Sequence[int]) -> list[Any]:
        maps = []
        for position, index in enumerate(tensors):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{prefix}{position}", index
            maps.append(entry)
        return maps

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, graph
    signature.inputs, signature.outputs = named("args_", inputs), named("output_", outputs)
    return signature


def options(name: str, **values: Any) -> Any:
    """An object of the schema's ``nameOptionsT`` class with these fields set."""
    made = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        if not hasattr(made, key):
            raise AttributeError(f"{name}OptionsT has no {key}")
        setattr(made, key, value)
    return made
