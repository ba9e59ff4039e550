"""Layers of a program: which operators belong together, by the modules of the user's source.
Isolated only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.judge.diagnosis.program import NORMALIZATION, Program
from harness.quantize.layers import op_of
from harness.quantize.provenance import module_path
from harness.recipe import Recipe, Scheme

if TYPE_CHECKING:
    from torch.fx import Node

CLAMPS = (
    "aten.relu.default",
    "aten.relu6.default",
    "aten.hardtanh.default",
    "aten.clamp.default",
)
"""They are the output range of the operator before them, whose integers are those after them."""
FLAT = {
    "aten.sigmoid.default": (6.0, 6.0),
    "aten.tanh.default": (3.0, 3.0),
    "aten.hardsigmoid.default": (3.0, 3.0),
    "aten.hardswish.default": (3.0, float("inf")),
    "aten.gelu.default": (4.0, float("inf")),
    "aten.silu.default": (8.0, float("inf")),
    "aten.elu.default": (6.0, float("inf")),
}
"""Functions of one value, and how far below and above zero they are not flat yet."""
_MOVES = {
    "view",
    "_unsafe_view",
    "reshape",
    "permute",
    "transpose",
    "t",
    "numpy_T",
    "slice",
    "select",
    "narrow",
    "expand",
    "unsqueeze",
    "squeeze",
    "flatten",
    "unflatten",
    "contiguous",
    "clone",
    "dropout",
    "alias",
    "detach",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "repeat",
    "repeat_interleave",
    "constant_pad_nd",
    "pad",
    "max_pool1d",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "roll",
    "flip",
    "pixel_shuffle",
    "pixel_unshuffle",
    "index_select",
    "_to_copy",
    "to",
    "lift_fresh_copy",
    "movedim",
    "swapaxes",
}
"""Operators that change no value but where it is."""

INPUT = "(input)"
"""The layer that the model's inputs are."""


@dataclass(frozen=True, eq=False)
class Layers:
    """All layers of a program.

    Attributes:
        names: of each: a module's path, or an operator's own name where it has none.
        nodes: of each, in execution order.
        owner: by node, the number of its layer. An operator that only moves values belongs to the
            layer that made them.
    """

    names: tuple[str, ...]
    nodes: "tuple[tuple[Node, ...], ...]"
    owner: "Mapping[Node, int]"


def operator(node: "Node") -> str:
    """``conv2d`` of ``aten.conv2d.default``."""
    name = str(node.target)
    parts = name.split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else name


def is_move(node: "Node") -> bool:
    """Whether it only moves values."""
    if _is_item(node):
        return is_move(node.args[0])
    return node.op == "call_function" and operator(node) in _MOVES


def root(node: "Node", program: Program) -> "Node":
    """The node that made the values of one that may only move them."""
    while is_move(node):
        node = next(x for x in node.all_input_nodes if x not in program.constants)
    return node


def scheme_of(node: "Node", recipe: Recipe, program: Program, layers: Layers) -> Scheme:
    """The scheme of a node: that of its layer's operator with weights, if it has one."""
    own = layers.nodes[layers.owner[node]]
    head = next((n for n in own if n in program.weights), node)
    return recipe.scheme_of(module_path(head), op_of(head))


def only_user(node: "Node") -> "Node | None":
    """The node that alone takes a value."""
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def group(program: Program) -> Layers:
    """The layers of a program, in execution order; the inputs come first."""
    keys: dict[Node, str] = dict.fromkeys(program.inputs, INPUT)
    several = _several_weights(program)
    for node in program.steps:
        source = root(node, program)
        if source is not node:
            keys[node] = keys[source]
        elif _is_item(node):
            keys[node] = keys[node.args[0]]
        elif (before := _runs_behind(node, program)) is not None:
            keys[node] = keys[before]
        else:
            keys[node] = _own_key(node, program, several)
    names = list(dict.fromkeys(keys.values()))
    owner = {node: names.index(key) for node, key in keys.items()}
    order = [*program.inputs, *program.steps]
    nodes = [tuple(n for n in order if owner[n] == number) for number in range(len(names))]
    return Layers(tuple(names), tuple(nodes), owner)


def _is_item(node: "Node") -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


def _runs_behind(node: "Node", program: Program) -> "Node | None":
    """The node whose only user this one is, where this one is part of its layer."""
    if str(node.target) not in (*CLAMPS, *FLAT, NORMALIZATION):
        return None
    before = next(x for x in node.all_input_nodes if x not in program.constants)
    if before.op != "call_function" or only_user(before) is None:
        return None
    source = root(before, program)
    return source if source.op == "call_function" else None


def _several_weights(program: Program) -> set[str]:
    """Modules that have several parameters that are weights."""
    held: dict[str, set[str]] = {}
    for node, weights in program.weights.items():
        held.setdefault(_module_of(node, weights.name), set()).add(weights.name)
    return {module for module, names in held.items() if len(names) > 1}


def _module_of(node: "Node", parameter: str) -> str:
    """The module that holds an operator's weights, where it is inside the one that runs it."""
    path, holder = module_path(node), parameter.rpartition(".")[0]
    return holder if holder.startswith(path) else path


def _own_key(node: "Node", program: Program, several: set[str]) -> str:
    weights = program.weights.get(node)
    if weights is None:
        return module_path(node) or str(node.name)
    module = _module_of(node, weights.name)
    if module in several or not module:
        return weights.name.removesuffix(".weight") or module or str(node.name)
    return module
