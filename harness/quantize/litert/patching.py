"""Changes numbers of a `.tflite` in place: what its constants hold, its scales. Sizes stay.

Everything here runs in an isolated process.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEAST_SCALE = 2.0**-12
"""Of a tensor that held nothing but zeros; as ExecuTorch has it."""


class TflitePatch:
    """The main graph of a `.tflite`, whose tensors can be written.

    Args:
        content: the file, changed in place.
    """

    def __init__(self, content: bytearray) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._content = content
        self._model: Any = schema.Model.GetRootAs(content, 0)
        self._graph: Any = self._model.Subgraphs(0)

    def data(self, tensor: int, dtype: str) -> Array:
        """What a constant holds, in the flatbuffer or behind it, as one axis; empty for what is
        computed."""
        buffer = self._model.Buffers(self._graph.Tensors(tensor).Buffer())
        content = buffer.DataAsNumpy()
        if not isinstance(content, np.ndarray):
            offset, size = (buffer.Offset(), buffer.Size()) if buffer.Offset() > 1 else (0, 0)
            content = np.frombuffer(self._content, np.uint8, size, offset)
        found: Array = content.view(dtype)
        return found

    def scales(self, tensor: int) -> npt.NDArray[np.float32]:
        """The scales of a tensor; empty when it has none."""
        quantization = self._graph.Tensors(tensor).Quantization()
        found = quantization.ScaleAsNumpy() if quantization is not None else None
        return found if isinstance(found, np.ndarray) else np.zeros(0, np.float32)

    def change(self, changes: Mapping[int, Callable[[Array], Array]]) -> None:
        """Replace the values of float constants, by tensor index."""
        for tensor, change in changes.items():
            data = self.data(tensor, "float32")
            data[:] = change(data)
