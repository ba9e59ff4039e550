"""Rewrites a `.pte` so that every computed tensor is an output of its method.

XNNPACK keeps nothing but what its delegate call gives back. So the payload's inner values become
external ones, the call gets an argument for each, and the method an output. Old bytes stay as they
are; new tables lie in front of them (`flatbuffer_front`), new payloads in new segments. Nothing
that computes is changed, but XNNPACK no longer merges nodes whose tensors are wanted.
"""

import math
import struct
from collections.abc import Mapping

from harness.emulator.formats.flatbuffer import Flatbuffer, Table
from harness.emulator.formats.flatbuffer_front import (
    NewTable,
    Numbers,
    Old,
    Vector,
    copy_table,
    old_tables,
    put_in_front,
)
from harness.emulator.formats.model_content import PROGRAM, naming_what_is_broken
from harness.emulator.formats.pte import SCALAR_TYPES, Method
from harness.emulator.formats.tflite import stored_dtype
from harness.emulator.formats.xnnpack_payload import split_payload
from harness.emulator.graph import Tensor

_HEADER_END, _SEGMENT_ALIGNMENT, _TENSOR_ALIGNMENT = 40, 128, 16
_PLANNED = 1
"""Number of the memory that tensors are planned in."""

_PROGRAM, _PLAN, _CHAIN, _DELEGATE = "Iooooooo", "o" * 10, "oooo", "ooo"
_TENSOR, _GRAPH, _QUANTIZED, _VALUE = "biooBIobbo", "oooIooooo", "oBo", "hIoIIIIh"
_IS_OUTPUT = 2
_CODES = {name: code for code, name in SCALAR_TYPES.items()}


def exposed_tensors(method: Method) -> tuple[int, ...]:
    """Tensors of the exposed file's outputs, in their order: the original's, then the others as
    they are computed."""
    graph = method.graph
    made = (index for node in graph.nodes for index in node.outputs)
    return graph.outputs + tuple(
        index
        for index in made
        if index not in graph.outputs
        and index not in method.views
        and (index in method.values or index in method.inside)
        and stored_dtype(graph.tensors[index].dtype) is not None
    )


def expose_program(method: Method, *, where: str = "model") -> bytes:
    """The file's content, changed so that its outputs are those of `exposed_tensors`.

    Raises:
        ModelError: the file is broken where the reader does not look.
    """
    with naming_what_is_broken(where, PROGRAM):
        return _Exposer(method).content()


class _Exposer:
    """One file on its way."""

    def __init__(self, method: Method) -> None:
        self._method, self._file = method, method.file
        plan = self._file.plan
        self._values: list[NewTable | Old] = [*old_tables(plan, 2)]
        self._outputs = list(plan.integers(4, "<i4"))
        self._sizes = [*plan.integers(8, "<i8"), 0, 0][: max(2, len(plan.integers(8, "<i8")))]
        self._arguments: dict[int, list[tuple[int, int]]] = {}
        self._segments: list[bytes] = []
        self._places: dict[int, NewTable] = {}

    def content(self) -> bytes:
        graph = self._method.graph
        for index in exposed_tensors(self._method)[len(graph.outputs) :]:
            if index in self._method.values:
                self._outputs.append(self._replace_value(self._method.values[index]))
            else:
                number, identity = self._method.inside[index]
                made = self._add_value(graph.tensors[index])
                self._arguments.setdefault(number, []).append((identity, made))
                self._outputs.append(made)
        for view, base in self._method.views.items():
            if base in self._places:
                self._move_value(view, self._places[base])
        plan = self._new_plan()
        return self._assemble(plan)

    def _allocate(self, tensor: Tensor) -> NewTable:
        """A place behind all others, so that no later tensor overwrites it."""
        stored = stored_dtype(tensor.dtype)
        item = stored.itemsize if stored is not None else 1
        place = -(-self._sizes[_PLANNED] // _TENSOR_ALIGNMENT) * _TENSOR_ALIGNMENT
        self._sizes[_PLANNED] = place + max(1, math.prod(tensor.shape)) * item
        low, high = place & 0xFFFFFFFF, place >> 32
        return NewTable({0: ("I", _PLANNED), 1: ("I", low), 2: ("I", high)})

    def _replace_value(self, value: int) -> int:
        """Give a tensor of the program a place of its own."""
        tensors = self._method.graph.tensors
        wanted = next(t for t, v in self._method.values.items() if v == value)
        self._move_value(wanted, self._allocate(tensors[wanted]))
        return value

    def _move_value(self, tensor: int, place: NewTable) -> None:
        value = self._method.values[tensor]
        _, table = self._file.values[value].union(1)
        copied = copy_table(table, _TENSOR)
        copied.links[6] = place
        self._values[value] = NewTable({0: ("B", 5)}, {1: copied})
        self._places[tensor] = place

    def _add_value(self, tensor: Tensor) -> int:
        shape = tensor.shape
        made = NewTable(
            {0: ("b", _CODES[str(stored_dtype(tensor.dtype))])},
            {
                2: Numbers("i", shape),
                3: Numbers("B", range(len(shape))),
                6: self._allocate(tensor),
            },
        )
        self._values.append(NewTable({0: ("B", 5)}, {1: made}))
        return len(self._values) - 1

    def _new_plan(self) -> NewTable:
        plan = copy_table(self._file.plan, _PLAN)
        chain = self._file.plan.tables(5)[0]
        copied = copy_table(chain, _CHAIN)
        instructions: list[NewTable | Old] = [*old_tables(chain, 2)]
        delegates: list[NewTable | Old] = [*old_tables(self._file.plan, 7)]
        done: set[int] = set()
        for number, added in self._arguments.items():
            _, call = chain.tables(2)[number].union(1)
            old, delegate = call.integers(1, "<i4"), call.integer(0, "i")
            arguments = [*old, *(value for _, value in added)]
            made = NewTable({0: ("i", delegate)}, {1: Numbers("i", arguments)})
            instructions[number] = NewTable({0: ("B", 2)}, {1: made})
            if delegate not in done:
                done.add(delegate)
                externals = {identity: len(old) + n for n, (identity, _) in enumerate(added)}
                delegates[delegate] = self._new_delegate(delegate, externals)
        copied.links[2] = Vector(instructions)
        plan.links[5], plan.links[7] = Vector([copied]), Vector(delegates)
        plan.links[2], plan.links[4] = Vector(self._values), Numbers("i", self._outputs)
        plan.links[8] = Numbers("q", self._sizes)
        return plan

    def _new_delegate(self, index: int, externals: Mapping[int, int]) -> NewTable:
        table = self._file.plan.tables(7)[index]
        segment = self._file.root.count(4) + len(self._segments)
        self._segments.append(expose_payload(self._file.payload(table), externals))
        copied = copy_table(table, _DELEGATE)
        copied.links[1] = NewTable({0: ("b", 1), 1: ("I", segment)})
        return copied

    def _assemble(self, plan: NewTable) -> bytes:
        program = copy_table(self._file.root, _PROGRAM)
        plans = self._file.root.tables(1)
        program.links[1] = Vector(
            [plan if p.place == self._file.plan.place else Old(p.place) for p in plans]
        )
        data = bytearray(self._file.content[self._file.base :] if self._file.base else b"")
        tables: list[NewTable | Old] = [*old_tables(self._file.root, 4)]
        for segment in self._segments:
            data += bytes(-len(data) % _SEGMENT_ALIGNMENT)
            tables.append(NewTable({0: ("Q", len(data)), 1: ("Q", len(segment))}))
            data += segment
        program.links[4] = Vector(tables)
        made = put_in_front(program, self._file.buffer.content, header_bytes=_HEADER_END)
        size = len(made)
        made += bytes(-size % _SEGMENT_ALIGNMENT)
        made[8:_HEADER_END] = b"eh00" + struct.pack("<IQQQ", 32, size, len(made), len(data))
        return bytes(made + data)


def expose_payload(payload: memoryview, externals: Mapping[int, int]) -> bytes:
    """A payload some of whose inner values are external outputs.

    Args:
        payload: as it was.
        externals: by the value's id, the number of the delegate call's argument.
    """
    flatbuffer, constants = split_payload(payload)
    buffer = Flatbuffer(flatbuffer, "a delegate payload", (b"XN00", b"XN01"))
    graph = copy_table(buffer.root, _GRAPH)
    tables = buffer.root.tables(2)
    graph.links[2] = Vector([_external(table, externals) or Old(table.place) for table in tables])
    known = buffer.root.integer(3)
    graph.scalars[3] = ("I", max(known, *(n + 1 for n in externals.values())))
    made = put_in_front(graph, flatbuffer)
    start = 64
    constant_start = start + len(made) + -len(made) % 64
    header = struct.pack(
        "<4s4sHIIIQ", b"", b"XH00", 30, start, len(made), constant_start, len(constants)
    )
    padding = bytes(constant_start - start - len(made))
    return header.ljust(start, b"\0") + bytes(made) + padding + bytes(constants)


def _external(wrapped: Table, externals: Mapping[int, int]) -> NewTable | None:
    """The value as an external output; None where it stays as it is."""
    kind, table = wrapped.union(1)
    inner = table if kind == 1 else table.required(0)
    number = externals.get(inner.integer(6))
    if number is None:
        return None
    copied = copy_table(inner, _VALUE)
    copied.scalars[4], copied.scalars[5] = ("I", number), ("I", _IS_OUTPUT)
    if kind != 1:
        outer = copy_table(table, _QUANTIZED)
        outer.links[0] = copied
        copied = outer
    return NewTable({0: ("B", kind)}, {1: copied})
