"""Changes a flatbuffer by new tables in front of its old bytes.

Offsets in a flatbuffer only point forward, so new tables in front may refer to old objects, and no
old byte is changed: an old table that would have to change is copied to the front.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.emulator.formats.flatbuffer import Table

_ALIGNMENT = 64
"""Of the old bytes, so that whatever was aligned in them stays so."""


@dataclass(frozen=True)
class Old:
    """An object of the old flatbuffer, by its place."""

    place: int


@dataclass(frozen=True)
class Numbers:
    """A new vector of numbers of one `struct` format."""

    layout: str
    values: Sequence[int]


@dataclass(frozen=True)
class Vector:
    """A new vector of tables."""

    tables: "Sequence[NewTable | Old]"


@dataclass
class NewTable:
    """A new table.

    Attributes:
        scalars: (format, value) by field number.
        links: objects by field number.
    """

    scalars: dict[int, tuple[str, int | float]] = field(default_factory=dict)
    links: dict[int, "Object"] = field(default_factory=dict)


Object = Old | Numbers | Vector | NewTable


def copy_table(table: Table, layout: str) -> NewTable:
    """A copy whose links are the old objects.

    Args:
        table: of the old flatbuffer.
        layout: one character for each field of the schema: a `struct` format, ``o`` for an offset.
    """
    made = NewTable()
    for number, kind in enumerate(layout):
        if table.field_place(number) is None:
            continue
        if kind == "o":
            made.links[number] = Old(table.link_place(number))
        elif kind in "fd":
            made.scalars[number] = (kind, table.real(number, kind))
        else:
            made.scalars[number] = (kind, table.integer(number, kind))
    return made


def old_tables(table: Table, number: int) -> list[Old]:
    """The tables of a vector field."""
    return [Old(found.place) for found in table.tables(number)]


def put_in_front(root: NewTable, old: memoryview, *, header_bytes: int = 8) -> bytearray:
    """A flatbuffer whose root is new.

    Args:
        root: the new root table.
        old: the old flatbuffer; its identifier is kept.
        header_bytes: where the first table may lie.

    Returns:
        The new flatbuffer; bytes 8 up to `header_bytes` are zero.
    """
    front = _Front(header_bytes)
    front.content[4:8] = old[4:8]
    front.link(0, root)
    front.content += bytes(-len(front.content) % _ALIGNMENT)
    for place, old_place in front.links_to_old:
        target = len(front.content) + old_place
        struct.pack_into("<I", front.content, place, target - place)
    return front.content + bytearray(old)


class _Front:
    """The new bytes: each object lies behind those that refer to it."""

    def __init__(self, header_bytes: int) -> None:
        self.content = bytearray(header_bytes)
        self.links_to_old: list[tuple[int, int]] = []

    def link(self, place: int, target: Object) -> None:
        """Add an object, and its offset at a place."""
        if isinstance(target, Old):
            self.links_to_old.append((place, target.place))
            return
        made = self._table(target) if isinstance(target, NewTable) else self._vector(target)
        struct.pack_into("<I", self.content, place, made - place)

    def _align(self, ahead: int = 0) -> None:
        """Pad so that the byte `ahead` of the end is one of 8."""
        self.content += bytes(-(len(self.content) + ahead) % 8)

    def _vector(self, vector: Numbers | Vector) -> int:
        self._align(ahead=4)
        made = len(self.content)
        if isinstance(vector, Numbers):
            count = len(vector.values)
            self.content += struct.pack(f"<I{count}{vector.layout}", count, *vector.values)
            return made
        count = len(vector.tables)
        self.content += struct.pack("<I", count) + bytes(4 * count)
        for number, table in enumerate(vector.tables):
            self.link(made + 4 + 4 * number, table)
        return made

    def _table(self, table: NewTable) -> int:
        fields = max([*table.scalars, *table.links], default=-1) + 1
        places = [0] * fields
        packed = bytearray(8)
        for number, (layout, value) in table.scalars.items():
            packed += bytes(-len(packed) % struct.calcsize(f"<{layout}"))
            places[number] = len(packed)
            packed += struct.pack(f"<{layout}", value)
        packed += bytes(-len(packed) % 4)
        for number in table.links:
            places[number] = len(packed)
            packed += bytes(4)
        vtable = struct.pack(f"<{2 + fields}H", 4 + 2 * fields, len(packed), *places)
        self._align(ahead=len(vtable))
        self.content += vtable
        made = len(self.content)
        struct.pack_into("<i", packed, 0, len(vtable))
        self.content += packed
        for number, target in table.links.items():
            self.link(made + places[number], target)
        return made
