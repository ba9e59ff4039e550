"""The arguments of one kernel call of an ExecuTorch program, as Python values. Untrusted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.emulator.formats.flatbuffer import Table
from harness.emulator.formats.graph_builder import GraphBuilder
from harness.emulator.formats.model_content import NotReadable

_NULL, _INT, _BOOL, _DOUBLE, _TENSOR, _STRING = 1, 2, 3, 4, 5, 6
_INTS, _DOUBLES, _TENSORS, _OPTIONAL_TENSORS = 7, 8, 10, 11
ABSENT = -1


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call; the last is the result.

    Attributes:
        builder: of the graph.
        indices: the program's values.
        value: from such an index to its type and table.
        tensor: from such an index to the graph's tensor.
        computed: values that are no tensors and that calls before this one write.
    """

    builder: GraphBuilder
    indices: tuple[int, ...]
    value: Callable[[int], tuple[int, Table]]
    tensor: Callable[[int], int]
    computed: set[int] = field(default_factory=set)

    def node(self, op: str, inputs: Sequence[int], options: Mapping[str, Any]) -> None:
        """Add the call's node, marked as one of a portable kernel."""
        self.builder.node(op, inputs, (self.result,), {**options, "portable": True})

    @property
    def result(self) -> int:
        """The tensor that the kernel writes."""
        return self.tensor(self.indices[-1])

    @property
    def results(self) -> list[int]:
        """The tensors that the kernel writes, one or a list; none where it makes a number."""
        kind, table = self.value(self.indices[-1])
        if kind == _TENSORS:
            return [self.tensor(i) for i in table.integers(0, "<i4")]
        return [self.result] if kind == _TENSOR else []

    def tensor_at(self, position: int) -> int:
        """A tensor argument."""
        return self.tensor(self._at(position, _TENSOR)[0])

    def tensor_or(self, position: int, number: float) -> int:
        """A tensor argument; a float32 constant of one element for None."""
        found = self.optional_at(position)
        if found != ABSENT:
            return found
        return self.builder.constant("none", np.asarray([number], np.float32))

    def optional_at(self, position: int) -> int:
        """A tensor argument; `ABSENT` for None."""
        return ABSENT if self.is_none(position) else self.tensor_at(position)

    def tensors_at(self, position: int) -> list[int]:
        """A list of tensors, `ABSENT` for None among them."""
        _, table = self._at(position, _TENSORS, _OPTIONAL_TENSORS)
        return [ABSENT if i == -1 else self.tensor(i) for i in table.integers(0, "<i4")]

    def all_tensors(self) -> list[int]:
        """Every tensor argument but the results."""
        found = []
        for index in self.indices[:-1]:
            kind, table = self.value(index)
            if kind == _TENSOR:
                found.append(self.tensor(index))
            elif kind in {_TENSORS, _OPTIONAL_TENSORS}:
                found += [self.tensor(i) for i in table.integers(0, "<i4") if i != -1]
        results = {*self.results}
        return [tensor for tensor in found if tensor not in results]

    def integer_at(self, position: int, default: int = 0) -> int:
        """An integer or boolean argument; `default` for None."""
        return default if self.is_none(position) else int(self.number_at(position, _INT, _BOOL))

    def real_at(self, position: int, default: float = 0.0) -> float:
        """A number; `default` for None."""
        return default if self.is_none(position) else float(self.number_at(position))

    def number_at(self, position: int, *kinds: int) -> bool | int | float:
        """A number of the type that it has in the program."""
        index, table = self._at(position, *(kinds or (_INT, _BOOL, _DOUBLE)))
        kind, _ = self.value(index)
        if kind == _DOUBLE:
            return table.real(0, "d")
        return bool(table.integer(0, "B")) if kind == _BOOL else table.integer(0, "q")

    def integers_at(self, position: int) -> list[int]:
        """A list of integers, whose items are the program's values; empty for None."""
        if self.is_none(position):
            return []
        _, table = self._at(position, _INTS)
        return [self._item(i) for i in table.integers(0, "<i8")]

    def reals_at(self, position: int) -> list[float]:
        """A list of numbers; empty for None."""
        if self.is_none(position):
            return []
        return [float(x) for x in self._at(position, _DOUBLES)[1].numbers(0, "<f8")]

    def text_at(self, position: int) -> str:
        """A string; empty for None."""
        return "" if self.is_none(position) else self._at(position, _STRING)[1].text(0)

    def is_none(self, position: int) -> bool:
        """Whether an argument is None."""
        return self.value(self._at(position)[0])[0] == _NULL

    def _item(self, index: int) -> int:
        kind, table = self.value(index)
        if index in self.computed or kind != _INT:
            raise NotReadable("with a size that is computed")
        return table.integer(0, "q")

    def _at(self, position: int, *kinds: int) -> tuple[int, Table]:
        """The program's value and its table, of one of these types if any are named."""
        if position >= len(self.indices):
            raise NotReadable(f"with {len(self.indices)} arguments")
        index = self.indices[position]
        kind, table = self.value(index)
        if kinds and kind not in kinds:
            raise NotReadable(f"with argument {position} of type {kind}")
        if index in self.computed:
            raise NotReadable(f"with argument {position} computed")
        return index, table
