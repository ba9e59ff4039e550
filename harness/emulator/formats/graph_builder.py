"""Collects the tensors and nodes of a graph whose file has no such list."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.emulator.formats.model_content import ReadError
from harness.emulator.formats.tflite import MAX_ELEMENTS, MAX_RANK
from harness.emulator.graph import Array, Graph, Node, Quantization, Tensor


class GraphBuilder:
    """A graph that grows.

    Attributes:
        place: where in the file the nodes stand that are being added, in the reader's own terms.
        places: by tensor that a node makes, the place of that node.
    """

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._nodes: list[Node] = []
        self.place: tuple[int, ...] = ()
        self.places: dict[int, tuple[int, ...]] = {}

    def __getitem__(self, index: int) -> Tensor:
        return self._tensors[index]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        quantization: Quantization | None = None,
        data: Array | None = None,
    ) -> int:
        """Add a tensor; its index.

        Raises:
            ReadError: its shape is absurd.
        """
        if len(shape) > MAX_RANK or any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise ReadError(
                f"{name} has shape {list(shape)[: MAX_RANK + 1]}, allowed: {MAX_RANK} dimensions, "
                f"{MAX_ELEMENTS} elements"
            )
        index = len(self._tensors)
        self._tensors.append(Tensor(index, name, tuple(shape), dtype, quantization, data))
        return index

    def constant(self, name: str, data: Array) -> int:
        """Add a constant that the file holds in another form; its index."""
        return self.tensor(name, data.shape, data.dtype.name, None, data)

    def node(
        self,
        op: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a node behind the others."""
        index = len(self._nodes)
        self._nodes.append(Node(index, op, tuple(inputs), tuple(outputs), dict(options or {})))
        self.places |= dict.fromkeys(outputs, self.place)

    @property
    def written(self) -> set[int]:
        """Constants, and what the nodes so far make."""
        made = {index for node in self._nodes for index in node.outputs}
        return made | {tensor.index for tensor in self._tensors if tensor.data is not None}

    def quantize(self, index: int, quantization: Quantization) -> bool:
        """Say how a tensor is quantized; False when something else is known already."""
        known = self._tensors[index].quantization
        if known is None:
            self._tensors[index] = replace(self._tensors[index], quantization=quantization)
            return True
        return np.array_equal(known.scales, quantization.scales) and np.array_equal(
            known.zero_points, quantization.zero_points
        )

    def graph(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        """What was collected."""
        return Graph(name, tuple(self._tensors), tuple(self._nodes), tuple(inputs), tuple(outputs))
