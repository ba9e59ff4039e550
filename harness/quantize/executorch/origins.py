"""Which tensor of a `.pte` is which of the model's own, and the float values of those.

Every operator of an ExecuTorch program carries a debug handle, and so does every node of a
delegate's payload: the handle leads to the node of the exported program that it was made from.

Everything here but `aligned` runs in an isolated process.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Origin
from harness.emulator.formats.pte import Method
from harness.quantize.provenance import module_path, origin
from harness.quantize.watching import run_watched

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


def handles_of(program: "torch.export.ExportedProgram") -> dict[int, str]:
    """The `origin` of each debug handle of a program in ExecuTorch's form, delegates included."""
    from executorch.exir.lowered_backend_module import get_lowered_submodules

    graphs = [program.graph]
    graphs += [m.original_module.graph for _, m, _ in get_lowered_submodules(program.graph_module)]
    return {
        int(node.meta["debug_handle"]): origin(node)
        for graph in graphs
        for node in graph.nodes
        if node.op == "call_function"
        and node.meta.get("from_node")
        and node.meta.get("debug_handle") is not None
    }


def origins_of(
    method: Method,
    model: "torch.fx.Graph",
    handles: Mapping[int, str],
    instructions: Mapping[int, Any],
) -> dict[str, Origin]:
    """What the tensors of a file are in the model, by their names.

    An operator that became several nodes is known by the last of them. One that runs as part of
    the operator before it (a batch normalization, an activation) gives that one's tensor its own
    meaning.

    Args:
        method: as it was read from the file.
        model: the float graph, before quantization.
        handles: the origin of each debug handle.
        instructions: the debug handle of each instruction, where it has a single one.
    """
    nodes = {origin(node): node for node in model.nodes if node.op == "call_function"}
    made: dict[str, int] = {}  # the last one wins
    for step in method.graph.nodes:
        for tensor in step.outputs:
            number, *inside = method.places.get(tensor, (-1,))
            handle = inside[0] if inside else instructions.get(number)
            name = handles.get(handle, "") if isinstance(handle, int) else ""
            if name in nodes:
                made[name] = tensor
    found = {}
    for name, tensor in made.items():
        node = _with_what_it_runs(nodes[name], made.keys() | {""})
        found[method.graph.tensors[tensor].name] = Origin(origin(node), module_path(node))
    return found


def _with_what_it_runs(node: "torch.fx.Node", known: "set[str]") -> "torch.fx.Node":
    """The last of the nodes behind one that have no tensor of their own in the file.

    A node that makes several values (a recurrent layer) stands for itself: each has its reader.
    """
    last, shape = node, getattr(node.meta.get("val"), "shape", None)
    for following in _only_users(node):
        if shape is None or origin(following) in known:
            break
        if getattr(following.meta.get("val"), "shape", None) == shape:
            last = following
    return last


def _only_users(node: "torch.fx.Node") -> "Iterator[torch.fx.Node]":
    while len(node.users) == 1:
        (node,) = node.users
        if node.op != "call_function":
            return
        yield node


def run_every_node(
    graph: "torch.fx.GraphModule", batches: "Iterable[tuple[torch.Tensor, ...]]"
) -> dict[str, Array]:
    """The float values of all nodes, by `origin`, joined along the first axis. Of nodes with one
    origin the last counts, as in `origins_of`."""
    import torch

    parts: dict[str, list[Array]] = {}
    values: dict[str, Array] = {}

    def see(node: torch.fx.Node, value: object) -> None:
        if node.op == "call_function" and isinstance(value, torch.Tensor):
            values[origin(node)] = np.atleast_1d(value.numpy().copy())

    for batch in batches:
        values.clear()
        run_watched(graph, batch, see)
        for name, x in values.items():
            parts.setdefault(name, []).append(x)
    return {name: np.concatenate(column) for name, column in parts.items()}


def aligned(x: Array, like: Array) -> Array | None:
    """A float value in the layout of a tensor of the file: as it is, or with the channels last, and
    with other axes of length 1. Where both fit, whichever is more alike. None where neither fits.

    Args:
        x: in the model's own layout.
        like: the file's tensor, dequantized.
    """
    wanted = [n for n in like.shape if n != 1]
    forms = [x, np.moveaxis(x, 1, -1)] if x.ndim > 2 else [x]
    fitting = [
        form.reshape(like.shape) for form in forms if [n for n in form.shape if n != 1] == wanted
    ]
    return min(fitting, key=lambda form: _distance(form, like), default=None)


def _distance(x: Array, y: Array) -> float:
    distance = np.linalg.norm(x.astype(np.float64) - y.astype(np.float64))
    return float(distance) if np.isfinite(distance) else np.inf
