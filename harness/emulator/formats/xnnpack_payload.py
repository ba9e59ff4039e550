"""Reads what ExecuTorch's XNNPACK delegate runs: the payload of a delegate call. Untrusted.

A payload is a header (XH00), a flatbuffer (XN00 or XN01) with XNNPACK's values and nodes, and
constant data; constants may also lie in the program's named data.

Source: executorch backends/xnnpack/serialization/schema.fbs and runtime_schema.fbs;
runtime/XNNHeader.cpp, runtime/XNNCompiler.cpp.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.emulator.formats.flatbuffer import Flatbuffer, Table
from harness.emulator.formats.graph_builder import GraphBuilder
from harness.emulator.formats.model_content import NotReadable, ReadError
from harness.emulator.graph import Array, Quantization

ABSENT = 0xFFFFFFFF
"""Id of a value that is not there."""

_HEADER_BYTES = 30
_MAX_EXTERNALS = 4096
_GRAPH_NODES, _GRAPH_VALUES, _GRAPH_EXTERNALS, _GRAPH_BUFFERS, _GRAPH_CONSTANTS = 1, 2, 3, 6, 8
_QUANTIZED_VALUE = 2
_PER_CHANNEL, _PER_TENSOR, _PER_TOKEN = 1, 2, 3
_EXTERNAL_INPUT, _EXTERNAL_OUTPUT = 1, 2

_DTYPES = {
    1: "float32",
    2: "float16",
    3: "int8",
    4: "uint8",
    5: "int32",
    6: "int8",
    7: "int32",
    8: "int4",
    9: "qdint8",
    10: "int4",
    12: "int32",
    14: "bfloat16",
}
_PACKED = {8, 10}
DYNAMIC = 9


@dataclass(frozen=True)
class Value:
    """One of XNNPACK's values.

    Attributes:
        datatype: by the schema's number.
        shape: as XNNPACK sees it: images are NHWC.
        external: index among the delegate call's arguments; None inside.
        is_output: written by the delegate, of an external value.
        quantization: None for real values and for those quantized by block.
        dynamic_dims: of a value quantized when it runs, how many last dimensions share a scale.
        data: of a constant.
    """

    datatype: int
    shape: tuple[int, ...]
    external: int | None
    is_output: bool
    quantization: Quantization | None
    dynamic_dims: int | None
    data: Array | None

    @property
    def dtype(self) -> str:
        """Numpy name, or ``int4``, ``bfloat16``, ``qdint8``."""
        return _DTYPES[self.datatype]


@dataclass(frozen=True)
class PayloadNode:
    """One of XNNPACK's nodes.

    Attributes:
        kind: by the schema's number in the union.
        table: its fields.
        handle: ExecuTorch's debug handle of the operator that it is, or is part of.
        low, high: the range of its output, infinite where it is open.
    """

    kind: int
    table: Table
    handle: int
    low: float
    high: float


@dataclass(frozen=True)
class Payload:
    """What a delegate call runs: values by id, nodes in execution order."""

    values: Mapping[int, Value]
    nodes: tuple[PayloadNode, ...]


def split_payload(content: memoryview) -> tuple[memoryview, memoryview]:
    """The flatbuffer and the constant data of a payload; without a header it is the former."""
    if bytes(content[4:8]) != b"XH00":
        return content, content[:0]
    if len(content) < _HEADER_BYTES:
        raise ReadError(f"a delegate payload of {len(content)} bytes, its header has 30")
    start, size, constant_start = (
        int.from_bytes(content[place : place + 4], "little") for place in (10, 14, 18)
    )
    constant_size = int.from_bytes(content[22:30], "little")
    if max(start + size, constant_start + constant_size) > len(content):
        raise ReadError(
            f"a delegate payload of {len(content)} bytes whose parts end at {start + size} and "
            f"{constant_start + constant_size}"
        )
    constants = content[constant_start : constant_start + constant_size]
    return content[start : start + size], constants


class PayloadReader:
    """One pass over one payload.

    Args:
        content: the payload.
        named: the program's named data.
    """

    def __init__(self, content: memoryview, named: Mapping[str, memoryview]) -> None:
        flatbuffer, self._constant_data = split_payload(content)
        self._named = named
        buffer = Flatbuffer(flatbuffer, "a delegate payload", (b"XN00", b"XN01"))
        self._charge = buffer.charge
        self._root = buffer.root
        self._constants = self._root.tables(_GRAPH_CONSTANTS)
        self._buffers = self._root.tables(_GRAPH_BUFFERS)

    def payload(self) -> Payload:
        """Everything in it."""
        if self._root.integer(_GRAPH_EXTERNALS) > _MAX_EXTERNALS:
            raise ReadError(f"a delegate payload with more than {_MAX_EXTERNALS} external values")
        values: dict[int, Value] = {}
        for wrapped in self._root.tables(_GRAPH_VALUES):
            kind, table = wrapped.union(1)
            quantized = table if kind == _QUANTIZED_VALUE else None
            inner = table if quantized is None else table.required(0)
            identity = inner.integer(6)
            if identity in values or identity == ABSENT:
                raise ReadError(f"a delegate payload defines value {identity} twice")
            values[identity] = self._value(inner, quantized, identity)
        nodes = tuple(self._node(table) for table in self._root.tables(_GRAPH_NODES))
        return Payload(values, nodes)

    def _node(self, table: Table) -> PayloadNode:
        kind, fields = table.union(1)
        limits = table.table(3)
        low = -math.inf if limits is None else limits.real(0)
        high = math.inf if limits is None else limits.real(1)
        if math.isnan(low) or math.isnan(high):
            raise ReadError("a delegate node whose range is not a number")
        return PayloadNode(kind, fields, table.integer(2), low, high)

    def _value(self, table: Table, quantized: Table | None, identity: int) -> Value:
        where = f"delegate value {identity}"
        datatype = table.integer(0, "h")
        if datatype not in _DTYPES:
            raise NotReadable(f"with a value of datatype {datatype}")
        if table.integer(7, "h"):
            raise NotReadable("with values quantized as programs before 2024 did")
        shape = table.integers(2)
        GraphBuilder().tensor(where, shape, _DTYPES[datatype])
        flags, external = table.integer(5), table.integer(4)
        is_external = bool(flags & (_EXTERNAL_INPUT | _EXTERNAL_OUTPUT))
        if is_external and external >= _MAX_EXTERNALS:
            raise ReadError(f"{where} is external {external}, allowed: below {_MAX_EXTERNALS}")
        quantization, dynamic = None, None
        if quantized is not None:
            quantization, dynamic = self._quantization(quantized, shape, where)
        return Value(
            datatype,
            shape,
            external if is_external else None,
            bool(flags & _EXTERNAL_OUTPUT),
            quantization,
            dynamic,
            self._data(table.integer(3), datatype, shape, where),
        )

    def _quantization(
        self, table: Table, shape: tuple[int, ...], where: str
    ) -> tuple[Quantization | None, int | None]:
        kind, fields = table.union(2)
        if kind == _PER_TOKEN:
            return None, fields.integer(0, "i")
        if kind == _PER_TENSOR:
            scales = np.asarray([fields.real(0)], np.float32)
            zero_points = np.asarray([fields.integer(1, "i")], np.int64)
            _check_scales(scales, where)
            return Quantization(scales, zero_points), None
        if kind != _PER_CHANNEL:
            return None, None
        axis = fields.integer(1, "i")
        channels = shape[axis] if 0 <= axis < len(shape) else 0
        found = fields.numbers(0, "<f4")
        if fields.integer(2):
            content = self._bytes(fields.integer(2), where)
            if content is None:
                return None, None
            if len(content) < 4 * channels:
                raise ReadError(f"{where} has {channels} channels, {len(content)} bytes of scales")
            found = np.frombuffer(content[: 4 * channels], "<f4")
        if len(found) != channels or not channels:
            raise ReadError(f"{where} has {len(found)} scales along axis {axis} of {list(shape)}")
        _check_scales(found, where)
        scales = found.astype(np.float32)
        return Quantization(scales, np.zeros(channels, np.int64), axis), None

    def _bytes(self, index: int, where: str) -> memoryview | None:
        """A constant's bytes; None when they lie in another file."""
        if self._buffers and not self._constants:
            if index >= len(self._buffers):
                raise ReadError(f"{where} is in buffer {index}, there are {len(self._buffers)}")
            return self._buffers[index].blob(0)
        if index >= len(self._constants):
            raise ReadError(f"{where} is constant {index}, there are {len(self._constants)}")
        entry = self._constants[index]
        start, size = entry.integer(0, "Q"), entry.integer(1, "Q")
        if name := entry.text(2):
            return self._named.get(name)
        if start + size > len(self._constant_data):
            raise ReadError(f"{where} lies behind the end of the payload's constants")
        return self._constant_data[start : start + size]

    def _data(self, index: int, datatype: int, shape: tuple[int, ...], where: str) -> Array | None:
        if not index or _DTYPES[datatype] in {"qdint8", "bfloat16"}:
            return None
        content = self._bytes(index, where)
        if content is None:
            return None
        item = np.dtype("u1" if datatype in _PACKED else _DTYPES[datatype])
        stored = shape if datatype not in _PACKED else (*shape[:-1], -(-shape[-1] // 2))
        needed = math.prod(stored) * item.itemsize
        if len(content) < needed:
            raise ReadError(f"{where} needs {needed} bytes, it has {len(content)}")
        self._charge(needed if datatype in _PACKED else 0)
        data: Array = np.frombuffer(content[:needed], item).reshape(stored)
        return _unpack_nibbles(data)[..., : shape[-1]] if datatype in _PACKED else data


def _check_scales(scales: Array, where: str) -> None:
    if not np.all(np.isfinite(scales) & (scales >= 0)):
        raise ReadError(f"{where} has a scale that is negative or not finite")


def _unpack_nibbles(packed: Array) -> Array:
    """4-bit values stored with 8 added, the even one in the low bits; as int8."""
    pairs = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8) - np.int8(8)
    return pairs.reshape(*packed.shape[:-1], 2 * packed.shape[-1])
