"""Reads tables of a flatbuffer by field number, without generated code. The content is untrusted.

Every place is checked before it is read, and every table, vector and string is charged to a budget
that grows with the file, so that objects which are shared many times cannot cost more than that.
"""

import struct

import numpy as np
import numpy.typing as npt

from harness.emulator.formats.model_content import ReadError
from harness.emulator.graph import Array

_COST_OF_A_TABLE = 16
_HEADER_BYTES = 8
"""Offset of the root table, then the file's identifier."""


class Flatbuffer:
    """The bytes of one flatbuffer.

    Args:
        content: from the root offset on; offsets are relative within it.
        what: what to call it in messages.
        identifiers: allowed values of the four bytes behind the root offset.
    """

    def __init__(self, content: memoryview, what: str, identifiers: tuple[bytes, ...]) -> None:
        self.content, self.what = content, what
        self._budget = 64 * len(content) + (1 << 16)
        found = bytes(content[4:_HEADER_BYTES])
        if found not in identifiers:
            allowed = " or ".join(i.decode() for i in identifiers)
            raise ReadError(f"{what}: {len(content)} bytes without the identifier {allowed}")
        (root,) = self.unpack("I", 0)
        self.root = Table(self, root)

    def unpack(self, layout: str, place: int) -> tuple[int, ...]:
        """Little-endian values at a place."""
        size = struct.calcsize(f"<{layout}")
        if not 0 <= place <= len(self.content) - size:
            raise ReadError(f"{self.what}: byte {place} lies outside its {len(self.content)} bytes")
        return struct.unpack_from(f"<{layout}", self.content, place)

    def charge(self, cost: int) -> None:
        """Spend some of the budget."""
        self._budget -= cost
        if self._budget < 0:
            raise ReadError(f"{self.what}: its parts are shared more often than its size explains")


class Table:
    """One table of a flatbuffer; fields by their number in the schema.

    An absent field reads as the default that is given.

    Attributes:
        place: of its first byte in the flatbuffer.
    """

    def __init__(self, buffer: Flatbuffer, place: int) -> None:
        buffer.charge(_COST_OF_A_TABLE)
        self._buffer, self.place = buffer, place
        (back,) = buffer.unpack("i", place)
        self._vtable = place - back
        (self._vtable_bytes,) = buffer.unpack("H", self._vtable)

    def field_place(self, field: int) -> int | None:
        """Where a field's value lies; None when it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_bytes:
            return None
        (offset,) = self._buffer.unpack("H", self._vtable + entry)
        return self.place + offset if offset else None

    def integer(self, field: int, layout: str = "I", default: int = 0) -> int:
        """An integer field; `layout` as in `struct`."""
        place = self.field_place(field)
        return default if place is None else self._buffer.unpack(layout, place)[0]

    def real(self, field: int, layout: str = "f", default: float = 0.0) -> float:
        """A float field; ``d`` for a double."""
        place = self.field_place(field)
        return default if place is None else float(self._buffer.unpack(layout, place)[0])

    def table(self, field: int) -> "Table | None":
        """A sub-table."""
        place = self._follow(field)
        return None if place is None else Table(self._buffer, place)

    def required(self, field: int) -> "Table":
        """A sub-table that must be there."""
        return Table(self._buffer, self.link_place(field))

    def union(self, field: int) -> tuple[int, "Table"]:
        """A union: its type, which is the field before, and its table."""
        return self.integer(field - 1, "B"), self.required(field)

    def text(self, field: int) -> str:
        """A string; "" when it is absent."""
        return bytes(self.blob(field)).decode("utf-8", errors="replace")

    def blob(self, field: int) -> memoryview:
        """A vector of bytes."""
        start, count = self._vector(field, 1)
        return self._buffer.content[start : start + count]

    def tables(self, field: int) -> "list[Table]":
        """A vector of tables."""
        start, count = self._vector(field, 4)
        places = range(start, start + 4 * count, 4)
        return [Table(self._buffer, p + self._buffer.unpack("I", p)[0]) for p in places]

    def count(self, field: int) -> int:
        """Length of a vector of tables."""
        return self._vector(field, 4)[1]

    def numbers(self, field: int, dtype: str = "<u4") -> Array:
        """A vector of numbers; empty when it is absent."""
        item = np.dtype(dtype)
        start, count = self._vector(field, item.itemsize)
        numbers: npt.NDArray[np.generic] = np.frombuffer(
            self._buffer.content[start : start + item.itemsize * count], item
        )
        return numbers

    def integers(self, field: int, dtype: str = "<u4") -> tuple[int, ...]:
        """A vector of integers."""
        return tuple(int(n) for n in self.numbers(field, dtype))

    def link_place(self, field: int) -> int:
        """Where the object of an offset field lies, which is there."""
        place = self._follow(field)
        if place is None:
            raise ReadError(f"{self._buffer.what}: the table at {self.place} lacks field {field}")
        return place

    def _follow(self, field: int) -> int | None:
        place = self.field_place(field)
        return None if place is None else place + self._buffer.unpack("I", place)[0]

    def _vector(self, field: int, unit: int) -> tuple[int, int]:
        """First byte and length; checked against the file and charged."""
        place = self._follow(field)
        if place is None:
            return 0, 0
        (count,) = self._buffer.unpack("I", place)
        size = len(self._buffer.content)
        if place + 4 + count * unit > size:
            raise ReadError(f"{self._buffer.what}: {count} items do not fit into {size} bytes")
        self._buffer.charge(count * unit)
        return place + 4, count
