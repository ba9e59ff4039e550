"""The emulator's graph form: what every reader makes and the interpreter runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization of a tensor: ``real = scale * (x_q - zero_point)``.

    Attributes:
        scales: float32, one or one per slice along `axis`.
        zero_points: int64, of the same length.
        axis: the quantized dimension.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int = 0

    @property
    def zero_points_are_int32(self) -> bool:
        """Whether runtimes can keep the zero points; files have 64 bits for them."""
        return bool(np.all(self.zero_points == self.zero_points.astype(np.int32)))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Symmetric quantization of a matrix with a scale for each block of a row's elements.

    Attributes:
        scales: float32 of float16 values, (rows, blocks of a row).
        size: elements of a block.
    """

    scales: npt.NDArray[np.float32]
    size: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a graph.

    Attributes:
        index: in the file.
        name: in the file.
        shape: in the file; a computed tensor may have another one when inputs are resized.
        dtype: numpy name; ``int4`` values are stored unpacked as int8, ``string`` has no values.
        quantization: None for real tensors and plain integers.
        data: the values of a constant; None for computed tensors, and for constants of a dtype or
            layout that has no definition here (strings, sparse tensors).
        variable: keeps its value from one call to the next.
        signature: the declared sizes where some may change, -1 for those; else empty.
        blocks: how it is quantized when by blocks; `quantization` is None then.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: Array | None = None
    variable: bool = False
    signature: tuple[int, ...] = ()
    blocks: Blocks | None = None

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The axes that the file leaves open: an input may have another size there."""
        if len(self.signature) != len(self.shape):
            return ()
        return tuple(axis for axis, size in enumerate(self.signature) if size == -1)


@dataclass(frozen=True)
class Node:
    """One operator call.

    Attributes:
        index: in execution order.
        op: e.g. ``CONV_2D``; a custom operator has its own name, e.g. ``edgetpu-custom-op``.
        inputs: tensor indices; -1 for an optional input that is absent.
        outputs: tensor indices.
        options: the op's own, by the schema's names in snake case; enums by name.
        version: of the operator, as the file states it.
        intermediates: tensors that only say how the node quantizes inside.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    intermediates: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """A list of nodes in execution order over a list of tensors.

    Attributes:
        name: in the file.
        tensors, nodes: all of them.
        inputs, outputs: tensor indices.
        library: the graphs of the model, which control flow calls by index.
        resized: an input has another shape than in the file; other shapes follow at run time.
    """

    name: str
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    library: "tuple[Graph, ...]" = ()
    resized: bool = False


@dataclass(frozen=True)
class EntryPoint:
    """A named way to call a graph (TFLite: signature): names of its inputs and outputs."""

    name: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds: the main graph first, then those that its control flow calls."""

    graphs: tuple[Graph, ...]
    entry_points: tuple[EntryPoint, ...] = ()

    @property
    def main(self) -> Graph:
        """The graph that runs when no entry point is named."""
        return self.graphs[0]

    def entry_point(self, name: str) -> EntryPoint:
        """The entry point of that name.

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        found = next((e for e in self.entry_points if e.name == name), None)
        if found is None:
            names = ", ".join(repr(e.name) for e in self.entry_points) or "none"
            raise UsageError(f"signature {name!r}: no such signature; the model has: {names}")
        return found

    def entry(self, name: str) -> Graph:
        """The graph as the entry point of that name calls it: its inputs and outputs.

        Raises:
            UsageError: there is no such entry point.
        """
        found = self.entry_point(name)
        return replace(
            self.graphs[found.graph],
            inputs=tuple(found.inputs.values()),
            outputs=tuple(found.outputs.values()),
        )
