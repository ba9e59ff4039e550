"""The table of definitions: (op, semantics name) to numpy code. `harness.emulator.ops` fills it.

A definition is bound once per node and input shapes, so that constants are prepared once, and then
run for each step. Whoever computes faster (the C++ core) offers the same two functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.emulator.graph import Array, Node, Quantization, Tensor

Values = Sequence[Array | None]
"""A node's input values, in input order; None for an absent optional input."""

Run = Callable[[Values], tuple[Array, ...]]
Accumulate = Callable[[Values], Array]


@dataclass(frozen=True, eq=False)
class Call:
    """One node with all that is known before it runs.

    Attributes:
        node: the node.
        inputs: its input tensors with the shapes of this run; None for an absent one.
        outputs: its output tensors, shapes as in the file.
        semantics: what the profile says this node means.
        intermediates: tensors that only say how the node quantizes inside.
    """

    node: Node
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    semantics: str
    intermediates: tuple[Tensor, ...] = ()

    def input(self, index: int) -> Tensor:
        """An input that must be there; raises CannotRun when it is not."""
        if index >= len(self.inputs):
            raise CannotRun(f"has {len(self.inputs)} inputs, needs input {index}")
        tensor = self.inputs[index]
        if tensor is None:
            raise CannotRun(f"input {index} is absent")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input that may be absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]


def same_shape(call: Call) -> tuple[int, ...]:
    """Output shape of an op that keeps its first input's."""
    return call.input(0).shape


class CannotRun(Exception):
    """The file is at fault: what a node asks for is impossible. The message says what."""


class NoDefinition(Exception):
    """This node's variant of the op has no definition here; it becomes "unknown"."""


Bind = Callable[[Call], Run]

DEFINITIONS: dict[tuple[str, str], Bind] = {}
ELEMENTWISE: dict[tuple[str, str], int] = {}
"""Definitions whose outputs depend on the input elements at their own place only, with the block
size: not on where the place is either, when the elements fill whole blocks of that many."""
ROWWISE: set[tuple[str, str]] = set()
"""Definitions that work along the last axis and take any number of leading ones."""
ACCUMULATORS: dict[str, Callable[[Call], Accumulate]] = {}
"""How to get the int32 accumulators of an op that requantizes, for reports."""
OUTPUT_SHAPES: dict[str, Callable[[Call], tuple[int, ...]]] = {}
"""The output's shape, for ops whose result a broken file could make larger than it says."""
BY_VALUE: dict[str, tuple[int, ...]] = {}
"""Inputs whose values the binding needs, by op: where they are computed, each value is bound
anew and appears to the definition as a constant."""


def define(
    ops: Sequence[str], semantics: Sequence[str], *, elementwise: int = 0, rowwise: bool = False
) -> Callable[[Bind], Bind]:
    """Enter a definition under every pair of `ops` and `semantics`.

    Args:
        ops: the operators.
        semantics: names that profiles use.
        elementwise: the block size, 1 for any number of elements, where a table may stand for the
            definition; see `ELEMENTWISE`. 0: it may not.
        rowwise: see `ROWWISE`.
    """

    def enter(bind: Bind) -> Bind:
        for op in ops:
            for name in semantics:
                if (op, name) in DEFINITIONS:
                    raise ValueError(f"{op}/{name} is defined twice")
                DEFINITIONS[op, name] = bind
                if rowwise:
                    ROWWISE.add((op, name))
                if elementwise:
                    ELEMENTWISE[op, name] = elementwise
        return bind

    return enter


def quantization(tensor: Tensor) -> Quantization:
    """A tensor's quantization; raises NoDefinition when it has none."""
    if tensor.quantization is None:
        raise NoDefinition(f"tensor {tensor.index} ({tensor.name!r}) has no quantization")
    return tensor.quantization


def scale_and_zero_point(tensor: Tensor) -> tuple[float, int]:
    """Per-tensor quantization; per-channel has no definition where this is asked."""
    found = quantization(tensor)
    if len(found.scales) != 1:
        raise NoDefinition(f"tensor {tensor.index} ({tensor.name!r}) is quantized per channel")
    return float(found.scales[0]), int(found.zero_points[0])


def as_float32(tensor: Tensor, x: Array) -> Array:
    """Values of a tensor that an op dequantizes for itself, ``float32(x - z) * float32(s)``; those
    of a float one as they are."""
    if tensor.dtype == "float32":
        return x
    scale, zero_point = scale_and_zero_point(tensor)
    return np.asarray((x.astype(np.float32) - np.float32(zero_point)) * np.float32(scale))


def numpy_dtype(tensor: Tensor) -> np.dtype[Any]:
    """A tensor's dtype, where numpy computes with it; NoDefinition where it does not."""
    try:
        return np.dtype(tensor.dtype)
    except TypeError as error:
        raise NoDefinition(f"tensor {tensor.index} ({tensor.name!r}) is {tensor.dtype}") from error


def required(value: Array | None) -> Array:
    """An input value that the binding has already found to be there."""
    if value is None:
        raise CannotRun("an input is absent")
    return value


def refuse_nan(x: Array) -> None:
    """Runtimes differ in what they make of NaN; raises NoDefinition where there is any."""
    if x.dtype.kind == "f" and bool(np.isnan(x).any()):
        raise NoDefinition("its input holds NaN")
