"""Reads an ExecuTorch program (`.pte`) into the emulator's graph form. The file is untrusted.

The method ``forward`` becomes one graph: calls of portable kernels are read by `pte_kernels`, calls
of the XNNPACK delegate from their payloads, by `xnnpack_payload` and `xnnpack_nodes`. So the graph
is what really runs, whatever made the file. Tensors have the shapes that PyTorch shows, in the
order of their dimensions.

Source: executorch schema/program.fbs and scalar_type.fbs; schema/extended_header.cpp.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.emulator.formats.flatbuffer import Flatbuffer, Table
from harness.emulator.formats.graph_builder import GraphBuilder
from harness.emulator.formats.model_content import (
    PROGRAM,
    NotReadable,
    ReadError,
    content_of,
    naming_what_is_broken,
)
from harness.emulator.formats.pte_arguments import Arguments
from harness.emulator.formats.pte_kernels import add_kernel_call
from harness.emulator.formats.pte_views import Place, with_views
from harness.emulator.formats.tflite import check_flow
from harness.emulator.formats.xnnpack_nodes import add_payload, check_nodes
from harness.emulator.formats.xnnpack_payload import Payload, PayloadReader
from harness.emulator.graph import Array, EntryPoint, Graph, Model, Quantization

_METHOD = "forward"
_XNNPACK = "XnnpackBackend"
_IDENTIFIERS = (b"ET12",)
_KERNEL_CALL, _DELEGATE_CALL, _MOVE_CALL, _FREE_CALL = 1, 2, 3, 5
_TENSOR = 5
_MAX_VALUES = 1 << 20

SCALAR_TYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    8: "complex32",
    9: "complex64",
    10: "complex128",
    11: "bool",
    15: "bfloat16",
    23: "float8_e5m2",
    24: "float8_e4m3fn",
    27: "uint16",
    28: "uint32",
    29: "uint64",
}
"""ExecuTorch's ScalarType (runtime/core/portable_type/scalar_type.h) by name."""


def read_pte(source: Path | bytes, *, where: str = "model") -> Model:
    """Read the method ``forward`` of an ExecuTorch program.

    Args:
        source: the file, or its content.
        where: what to call the model in messages when `source` is bytes.

    Raises:
        UsageError: the file cannot be read.
        ModelError: it is broken, or exceeds a limit.
    """
    content, where = content_of(source, where)
    graph = read_method(content, where=where).graph
    entry = EntryPoint(
        _METHOD,
        0,
        {f"in{n}": i for n, i in enumerate(graph.inputs)},
        {f"out{n}": i for n, i in enumerate(graph.outputs)},
    )
    return Model((graph,), (entry,))


@dataclass(frozen=True, eq=False)
class Method:
    """A method and where its tensors come from.

    Attributes:
        graph: what it runs.
        file: what it was read from.
        values: by tensor, the program's value.
        inside: by tensor that only a delegate sees, its instruction and its id in the payload.
        places: by computed tensor, the number of its instruction; in a delegate's payload also the
            debug handle of its node.
        views: by tensor that lies where another one does and that nothing writes, that other one.
    """

    graph: Graph
    file: "ProgramFile"
    values: Mapping[int, int]
    inside: Mapping[int, tuple[int, int]]
    places: Mapping[int, tuple[int, ...]]
    views: Mapping[int, int]


def read_method(content: bytes, *, where: str) -> Method:
    """As `read_pte`, with what else is known of the tensors."""
    with naming_what_is_broken(where, PROGRAM):
        return _MethodReader(ProgramFile(memoryview(content))).method()


class ProgramFile:
    """The parts of a file: the program's flatbuffer and the segments behind it.

    Every vector is read once, however many refer to its items: the cost is linear in the file.

    Attributes:
        content: the file.
        base: where the segments begin.
        buffer: the program's flatbuffer.
        root: the program's table.
        plan: the table of the method ``forward``.
        values, chains, delegates: what the plan lists.
    """

    def __init__(self, content: memoryview) -> None:
        self.content = content
        program_bytes, self.base = len(content), 0
        if bytes(content[8:12]) == b"eh00":
            if len(content) < 32:
                raise ReadError("its extended header is cut off")
            program_bytes = int.from_bytes(content[16:24], "little")
            self.base = int.from_bytes(content[24:32], "little")
        if program_bytes > len(content):
            raise ReadError(f"its program has {program_bytes} bytes, the file {len(content)}")
        self.buffer = Flatbuffer(content[:program_bytes], "the program", _IDENTIFIERS)
        self.root = self.buffer.root
        self._segments = self.root.tables(4)
        self._inline = self.root.tables(3)
        self._constants = self.root.tables(2)
        constants = self.root.table(5)
        self._constant_segment = 0 if constants is None else constants.integer(0)
        self._constant_offsets = () if constants is None else constants.integers(1, "<u8")
        plans = self.root.tables(1)
        named = [plan for plan in plans if plan.text(0) == _METHOD]
        if not named:
            names = ", ".join(plan.text(0) for plan in plans[:5]) or "none"
            raise ReadError(f"it has no method {_METHOD}; methods: {names}")
        self.plan = named[0]
        self.values = self.plan.tables(2)
        self.chains = self.plan.tables(5)
        self.delegates = self.plan.tables(7)

    def segment(self, index: int) -> memoryview:
        """The bytes of a segment."""
        if index >= len(self._segments):
            raise ReadError(f"segment {index}, there are {len(self._segments)}")
        table = self._segments[index]
        start, size = self.base + table.integer(0, "Q"), table.integer(1, "Q")
        if start + size > len(self.content):
            raise ReadError(f"segment {index} ends at byte {start + size}, behind the file's end")
        return self.content[start : start + size]

    def named_data(self) -> dict[str, memoryview]:
        """Constants that payloads name."""
        return {e.text(0): self.segment(e.integer(1)) for e in self.root.tables(7)}

    def payload(self, delegate: Table) -> memoryview:
        """What a delegate was given when the program was made."""
        reference = delegate.required(1)
        index = reference.integer(1)
        if reference.integer(0, "b"):
            return self.segment(index)
        if index >= len(self._inline):
            raise ReadError(f"delegate data {index}, there are {len(self._inline)}")
        return self._inline[index].blob(0)

    def constant(self, index: int) -> memoryview:
        """The bytes from a constant tensor's first one on."""
        offsets = self._constant_offsets
        if not offsets:
            if index >= len(self._constants):
                raise ReadError(f"constant {index}, there are {len(self._constants)}")
            return self._constants[index].blob(0)
        if index >= len(offsets):
            raise ReadError(f"constant {index}, there are {len(offsets)}")
        return self.segment(self._constant_segment)[offsets[index] :]


class _MethodReader:
    """One pass over the method of one file."""

    def __init__(self, file: ProgramFile) -> None:
        self._file, self._builder = file, GraphBuilder()
        self._values = file.values
        if len(self._values) > _MAX_VALUES:
            raise ReadError(f"{len(self._values)} values, allowed: {_MAX_VALUES}")
        self._tensors: dict[int, int] = {}
        self._orders: dict[int, tuple[int, ...]] = {}
        self._inside: dict[int, tuple[int, int]] = {}
        self._computed: set[int] = set()
        self._places: dict[int, Place] = {}
        self._inputs: list[int] = []
        self._named = file.named_data()
        self._operators = [(o.text(0), o.text(1)) for o in file.plan.tables(6)]
        self._delegates = file.delegates

    def method(self) -> Method:
        plan = self._file.plan
        inputs, outputs = plan.integers(3, "<i4"), plan.integers(4, "<i4")
        self._inputs = [i for i in inputs if self._is_tensor(i)]
        graph_inputs = [self._tensor(i) for i in self._inputs]
        chains = self._file.chains
        if len(chains) != 1:
            raise ReadError(f"its method has {len(chains)} chains of instructions, allowed: 1")
        for number, instruction in enumerate(chains[0].tables(2)):
            self._instruction(instruction, number)
        graph_outputs = [self._tensor(i) for i in outputs if self._is_tensor(i)]
        read = self._builder.graph(_METHOD, graph_inputs, graph_outputs)
        graph, views = with_views(read, self._places)
        check_flow(graph)
        values = {tensor: value for value, tensor in self._tensors.items()}
        places = self._builder.places
        return Method(graph, self._file, values, self._inside, places, views)

    def _value(self, index: int) -> tuple[int, Table]:
        """A value's type and table."""
        if not 0 <= index < len(self._values):
            raise ReadError(f"value {index}, there are {len(self._values)}")
        return self._values[index].union(1)

    def _is_tensor(self, index: int) -> bool:
        return self._value(index)[0] == _TENSOR

    def _tensor(self, index: int) -> int:
        """The graph's tensor of a value."""
        if index in self._tensors:
            return self._tensors[index]
        kind, table = self._value(index)
        if kind != _TENSOR:
            raise ReadError(f"value {index} is of type {kind}, a tensor is wanted")
        code = table.integer(0, "b")
        if code not in SCALAR_TYPES:
            raise ReadError(f"value {index} has scalar type {code}, not known here")
        shape, order = table.integers(2, "<i4"), table.integers(3, "u1")
        if sorted(order) != list(range(len(shape))):
            raise ReadError(f"value {index} has dimensions {list(shape)} in order {list(order)}")
        name, dtype = f"value{index}", SCALAR_TYPES[code]
        made = self._builder.tensor(name, shape, dtype)
        if table.integer(5) and dtype != "bfloat16":
            data = self._constant(table.integer(5), shape, order, dtype)
            made = self._builder.tensor(name, shape, dtype, None, data)
        place = table.table(6)
        if place is not None and order == tuple(range(len(order))):
            offset = place.integer(1) | place.integer(2) << 32
            self._places[made] = (place.integer(0), offset)
        self._tensors[index], self._orders[made] = made, order
        return made

    def _constant(
        self, buffer: int, shape: tuple[int, ...], order: tuple[int, ...], dtype: str
    ) -> Array:
        content = self._file.constant(buffer)
        item = np.dtype(dtype)
        needed = math.prod(shape) * item.itemsize
        if len(content) < needed:
            raise ReadError(f"constant {buffer} needs {needed} bytes, it has {len(content)}")
        stored = np.frombuffer(content[:needed], item).reshape([shape[d] for d in order])
        return stored.transpose(np.argsort(order)) if order else stored

    def _instruction(self, instruction: Table, number: int) -> None:
        kind, call = instruction.union(1)
        self._builder.place = (number,)
        if kind == _KERNEL_CALL:
            arguments = Arguments(
                self._builder,
                call.integers(1, "<i4"),
                self._value,
                self._tensor,
                self._computed,
            )
            operator = call.integer(0, "i")
            if not 0 <= operator < len(self._operators):
                raise ReadError(f"operator {operator}, there are {len(self._operators)}")
            name, overload = self._operators[operator]
            add_kernel_call(arguments, f"{name}.{overload}")
        elif kind == _DELEGATE_CALL:
            self._delegate_call(call, number)
        elif kind == _MOVE_CALL:
            source, target = call.integer(0, "i"), call.integer(1, "i")
            shape = self._builder[self._tensor(source)].shape
            options = {"new_shape": shape}
            self._builder.node("RESHAPE", (self._tensor(source),), (self._tensor(target),), options)
        elif kind != _FREE_CALL:
            raise ReadError(f"instruction {number} is of type {kind}, not known here")

    def _delegate_call(self, call: Table, number: int) -> None:
        index, arguments = call.integer(0, "i"), call.integers(1, "<i4")
        if not 0 <= index < len(self._delegates):
            raise ReadError(f"delegate {index}, there are {len(self._delegates)}")
        delegate = self._delegates[index]
        backend = delegate.text(0)
        if backend != _XNNPACK:
            self._opaque_call(arguments, f"backend {backend}")
            return
        try:
            payload = PayloadReader(self._file.payload(delegate), self._named).payload()
            check_nodes(payload)
        except NotReadable as reason:
            self._opaque_call(arguments, f"{_XNNPACK} {reason}")
            return
        name = f"delegate{index}"
        external, outgoing = self._externals(payload, arguments, name)
        made = add_payload(self._builder, payload, external, name)
        for identity in made.keys() - external.keys():
            if payload.values[identity].data is None:
                self._inside[made[identity]] = (number, identity)
        for inside, outside, axes in outgoing:
            self._transpose(inside, outside, axes, name)

    def _opaque_call(self, arguments: tuple[int, ...], op: str) -> None:
        """A delegate call that nothing is known of: what nobody wrote before, it makes."""
        tensors = [self._tensor(i) for i in arguments if self._is_tensor(i)]
        there = self._builder.written | {self._tensors[i] for i in self._inputs}
        inputs = [i for i in tensors if i in there]
        self._builder.node(op, inputs, [i for i in tensors if i not in there])

    def _externals(
        self, payload: Payload, arguments: tuple[int, ...], name: str
    ) -> tuple[dict[int, int], list[tuple[int, int, tuple[int, ...]]]]:
        """The tensor of each external value; and what is to be copied out in another order."""
        external: dict[int, int] = {}
        outgoing = []
        for identity, value in payload.values.items():
            if value.external is None:
                continue
            if value.external >= len(arguments):
                raise ReadError(f"{name} takes argument {value.external} of {len(arguments)}")
            outside = self._tensor(arguments[value.external])
            order = self._orders[outside]
            self._check_alike(outside, order, value.shape, value.dtype, f"{name}/{identity}")
            if order == tuple(range(len(order))):
                external[identity] = outside
                self._quantize(outside, value.quantization, f"{name}/{identity}")
                continue
            inside = self._builder.tensor(
                f"{name}/{identity}", value.shape, value.dtype, value.quantization
            )
            external[identity] = inside
            self._quantize(outside, value.quantization, f"{name}/{identity}")
            if value.is_output:
                back = tuple(int(d) for d in np.argsort(order))
                outgoing.append((inside, outside, back))
            else:
                self._transpose(outside, inside, order, name)
        return external, outgoing

    def _check_alike(
        self, outside: int, order: tuple[int, ...], shape: tuple[int, ...], dtype: str, name: str
    ) -> None:
        """An argument has the value's dtype and shape; rank 0 is XNNPACK's [1]."""
        tensor = self._builder[outside]
        physical = tuple(tensor.shape[d] for d in order) or (1,)
        if (physical, tensor.dtype) != (shape, dtype):
            raise ReadError(
                f"{name} is {dtype} {list(shape)}, its argument {tensor.dtype} {list(physical)}"
            )

    def _quantize(self, tensor: int, quantization: Quantization | None, name: str) -> None:
        if quantization is not None and not self._builder.quantize(tensor, quantization):
            raise ReadError(f"{name} is quantized otherwise than the delegate before it says")

    def _transpose(self, source: int, target: int, axes: tuple[int, ...], name: str) -> None:
        constant = self._builder.constant(f"{name}/axes", np.asarray(axes, np.int32))
        self._builder.node("TRANSPOSE", (source, constant), (target,))
