"""Which module of the model each op of its float `.tflite` comes from.

litert-torch writes modules into tensor names, but leaves out those that are never called (a
ModuleList), and gives what it joined the names of all owners. So weights are found by value, up to
what the converter folds into them; names tell the rest. Isolated only.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.emulator.graph import Graph, Node
from harness.quantize.litert.reached import constant_weights, named_paths

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

_WRAPPER = "model."
"""The user's module is a child, of this name, of what is converted."""
_ROWS = 16
"""Output channels that are compared."""
_NEAR = 1e-6


def layer_paths(graph: Graph, module: "torch.nn.Module") -> dict[str, str]:
    """The path of each op's module in the user's source, by the name of the op's first output.

    Args:
        graph: of the float file that was made of `module`.
        module: as `load_float32` gives it, with the values that were converted.
    """
    full = _uncalled_left_out(module)
    parameters = [
        (name.removeprefix(_WRAPPER).rpartition(".")[0], x.detach().numpy())
        for name, x in module.named_parameters(remove_duplicate=False)
        if x.ndim > 1
    ]
    found = {}
    for node in graph.nodes:
        named = [full.get(path, path) for path in named_paths(graph, node)]
        held = list(_holders(graph, node, parameters))
        path = next((path for path in named if path in held), "") or next(iter(held), "")
        found[graph.tensors[node.outputs[0]].name] = path or next(iter(named), "")
    return {name: path for name, path in found.items() if path}


def _uncalled_left_out(module: "torch.nn.Module") -> dict[str, str]:
    """Full paths by what litert-torch makes of them; those that it makes alike are left out."""
    import torch

    containers = (torch.nn.ModuleList, torch.nn.ModuleDict)
    shortened: dict[str, list[str]] = {}
    for name, _ in module.named_modules():
        path = name.removeprefix(_WRAPPER)
        parts = name.split(".")
        kept = [
            part
            for place, part in enumerate(parts)
            if not isinstance(_at(module, parts[: place + 1]), containers)
        ]
        shortened.setdefault(".".join(kept).removeprefix(_WRAPPER), []).append(path)
    return {short: paths[0] for short, paths in shortened.items() if len(paths) == 1}


def _at(module: "torch.nn.Module", parts: list[str]) -> "torch.nn.Module":
    return module.get_submodule(".".join(parts)) if parts != [""] else module


def _holders(graph: Graph, node: Node, parameters: list[tuple[str, Array]]) -> Iterator[str]:
    """The modules with a parameter that an op's weights were made of."""
    weights = constant_weights(graph, node)
    if weights is None or weights.dtype.kind != "f" or weights.ndim < 2:
        return
    wanted: Array | None = None
    for path, x in parameters:
        if x.size != weights.size:
            continue
        if wanted is None:
            wanted = _rows(_as_torch(weights, node.op), 0)
        sides = (_rows(x, axis) for axis in (0, 1) if len(wanted) == min(_ROWS, x.shape[axis]))
        if any(_made_of(wanted, side) for side in sides):
            yield path


def _as_torch(weights: Array, op: str) -> Array:
    """With the output channels first, and the input channels before height and width."""
    if op == "DEPTHWISE_CONV_2D":
        return np.moveaxis(weights, -1, 0)
    return np.moveaxis(weights, -1, 1) if weights.ndim > 2 else weights


def _rows(x: Array, axis: int) -> Array:
    """The values of some output channels, evenly chosen."""
    rows = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    chosen = np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int)
    return np.asarray(rows[chosen], np.float64)


def _made_of(x: Array, parameter: Array) -> bool:
    """Whether each value of `x` is that of the parameter times a factor of its row (a batch
    normalization behind the layer) and one of its column (a layer normalization before it).

    Then the products across, of two rows each, are alike up to one factor.
    """
    if x.shape != parameter.shape or x.shape[1] < 2:
        return False
    if len(x) == 1:
        return _parallel(x[0], parameter[0])
    pairs = zip(range(len(x) - 1), range(1, len(x)), strict=True)
    return all(_parallel(x[a] * parameter[b], x[b] * parameter[a]) for a, b in pairs)


def _parallel(x: Array, y: Array) -> bool:
    """Rows of zeros are parallel to all."""
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    return bool(abs(x @ y) >= (1 - _NEAR) * lengths)
