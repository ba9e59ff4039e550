"""Small graphs for the checker: a node in a line, described by shapes and dtypes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.emulator.graph import Graph, Node, Quantization, Tensor


def tensor(
    index: int,
    shape: Sequence[int],
    dtype: str = "int8",
    *,
    data: Any = None,
    scales: int = 1,
    variable: bool = False,
    signature: tuple[int, ...] = (),
) -> Tensor:
    found = None
    if dtype in ("int8", "uint8"):
        found = Quantization(np.full(scales, 0.5, np.float32), np.zeros(scales, np.int64))
    values = None if data is None else np.asarray(data, np.dtype(dtype)).reshape(shape)
    return Tensor(index, f"t{index}", tuple(shape), dtype, found, values, variable, signature)


def line(*nodes: tuple[str, Mapping[str, Any]]) -> Graph:
    """Nodes one behind the other. Each has `constants` (arrays behind the data), `shape`, `dtype`
    of its output, `options`, `version`, and may take more `data` from the graph's inputs."""
    tensors = [tensor(0, (1, 8, 8, 4))]
    made, inputs = [], [0]
    for number, (op, given) in enumerate(nodes):
        data = [tensors[-1].index]
        if "takes" in given:
            inputs = [0] if number else []
            tensors.append(tensor(len(tensors), *given["takes"]))
            inputs.append(tensors[-1].index)
            data = [tensors[-1].index]
        for shape, dtype, values, *scales in given.get("constants", ()):
            count = scales[0] if scales else 1
            tensors.append(
                tensor(len(tensors), shape, dtype, data=np.full(shape, values), scales=count)
            )
            data.append(tensors[-1].index)
        order = given.get("order", range(len(data)))
        shape, dtype = given.get("shape", (1, 8, 8, 4)), given.get("dtype", "int8")
        tensors.append(tensor(len(tensors), shape, dtype))
        options, version = given.get("options", {}), given.get("version", 2)
        outputs = (tensors[-1].index,)
        made.append(Node(number, op, tuple(data[i] for i in order), outputs, options, version))
    return Graph("main", tuple(tensors), tuple(made), tuple(inputs), made[-1].outputs)


CONV = (
    "CONV_2D",
    {"constants": [((4, 1, 1, 4), "int8", 1, 4), ((4,), "int32", 0)], "version": 3},
)
DEPTHWISE = (
    "DEPTHWISE_CONV_2D",
    {"constants": [((1, 3, 3, 4), "int8", 1, 4), ((4,), "int32", 0)], "version": 3},
)
ADD = ("ADD", {"constants": [((1, 8, 8, 4), "int8", 1)]})
