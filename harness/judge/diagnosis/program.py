"""The float program that a diagnosis runs: exported, with batch normalizations folded, and what
only constants reach computed. Isolated only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node

NORMALIZATION = "aten._native_batch_norm_legit_no_training.default"
_WEIGHTED = {
    "aten.conv1d.default": 0,
    "aten.conv2d.default": 0,
    "aten.conv3d.default": 0,
    "aten.conv1d.padding": 0,
    "aten.conv2d.padding": 0,
    "aten.conv3d.padding": 0,
    "aten.convolution.default": 0,
    "aten.conv_transpose1d.default": 1,
    "aten.conv_transpose2d.input": 1,
    "aten.conv_transpose3d.input": 1,
    "aten.linear.default": 0,
    "aten.matmul.default": -1,
    "aten.mm.default": -1,
    "aten.bmm.default": -1,
}
"""Operators that may have weights at their second place, and the axis of those that counts the
output channels."""
_TABLE = "aten.embedding.default"
CONVOLUTIONS = tuple(name for name in _WEIGHTED if "conv" in name)


@dataclass(frozen=True, eq=False)
class Weights:
    """Of one operator.

    Attributes:
        node: that holds them.
        axis: of the output channels.
        name: of the parameter in the user's module, e.g. ``block2.conv.weight``.
    """

    node: "Node"
    axis: int
    name: str


@dataclass(frozen=True, eq=False)
class Program:
    """A float program, ready to be run in parts.

    Attributes:
        module: the graph.
        steps: its operators that depend on an input, in execution order.
        inputs: its placeholders.
        outputs: the nodes that it returns.
        constants: values of what depends on no input.
        weights: by operator.
    """

    module: "GraphModule"
    steps: "tuple[Node, ...]"
    inputs: "tuple[Node, ...]"
    outputs: "tuple[Node, ...]"
    constants: "Mapping[Node, Any]"
    weights: "Mapping[Node, Weights]" = field(default_factory=dict)


def export_program(
    module: "torch.nn.Module", examples: "tuple[torch.Tensor, ...]", *, in_parts: bool
) -> Program:
    """Export a float module.

    Args:
        module: as `load_float32` makes it.
        in_parts: write normalizations and attention as the sums and products that LiteRT makes of
            them, each a tensor of its own; else they are left whole.
    """
    import torch

    exported = torch.export.export(module, examples, strict=False)
    table = _parts() if in_parts else {}
    graph = exported.run_decompositions(table).module(check_guards=False)
    names = _parameter_names(graph)
    _fold_normalizations(graph, _constants(graph))
    if in_parts:
        _fold_factors(graph, _constants(graph))
    constants = _constants(graph)
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    steps = [n for n in graph.graph.nodes if n.op == "call_function" and n not in constants]
    return Program(
        graph,
        tuple(steps),
        tuple(node for node in graph.graph.nodes if node.op == "placeholder"),
        tuple(output.all_input_nodes),
        constants,
        {node: found for node in steps if (found := _weights_of(node, constants, names))},
    )


def is_float(node: "Node") -> bool:
    """Whether it gives one tensor of floats."""
    value = node.meta.get("val")
    return bool(getattr(getattr(value, "dtype", None), "is_floating_point", False))


def _constants(graph: "GraphModule") -> "dict[Node, Any]":
    """Values of all nodes that no input reaches."""
    import torch
    from torch.fx.node import map_arg

    known: dict[Node, Any] = {}
    with torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "get_attr":
                value: Any = graph
                for part in str(node.target).split("."):
                    value = getattr(value, part)
                known[node] = value.detach() if isinstance(value, torch.Tensor) else value
            elif node.op == "call_function" and all(x in known for x in node.all_input_nodes):
                args, kwargs = (map_arg(x, known.__getitem__) for x in (node.args, node.kwargs))
                known[node] = node.target(*args, **kwargs)
    return known


def _parameter_names(graph: "GraphModule") -> "dict[Node, str]":
    """The user's name of the parameter that each constant comes from, before it is changed."""
    names: dict[Node, str] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            names[node] = str(node.target).removeprefix("model.")
        elif node.all_input_nodes and all(x in names for x in node.all_input_nodes):
            names[node] = names[node.all_input_nodes[0]]
    for node in graph.graph.nodes:
        if node.op == "call_function" and len(node.args) > 1 and node.args[1] in names:
            names.setdefault(node, names[node.args[1]])
    return names


def _weights_of(
    node: "Node", constants: "Mapping[Node, Any]", names: "Mapping[Node, str]"
) -> Weights | None:
    op = str(node.target)
    if op == _TABLE and node.args[0] in constants:
        return Weights(node.args[0], 0, names.get(node.args[0], ""))
    if op not in _WEIGHTED or node.args[1] not in constants:
        return None
    axis = 1 if op == "aten.convolution.default" and node.args[6] else _WEIGHTED[op]
    held = node.args[1]
    axis %= constants[held].ndim
    return Weights(held, axis, names.get(held) or names.get(node, ""))


def _fold_normalizations(graph: "GraphModule", constants: "Mapping[Node, Any]") -> None:
    """Into the convolution or linear operator before them, as all converters do."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    for norm in [n for n in graph.graph.nodes if str(n.target) == NORMALIZATION]:
        head, *held, _momentum, epsilon = norm.args
        op = str(getattr(head, "target", ""))
        taken = [*getattr(head, "args", ())[1:3]]
        known = all(x is None or x in constants for x in (*taken, *held)) and len(taken) > 0
        if op not in CONVOLUTIONS and op != "aten.linear.default":
            continue
        transposed = "transpose" in op
        if not known or len(head.users) != 1 or (transposed and _groups(head) > 1):
            continue
        weight, bias = constants[taken[0]], constants.get((*taken, None)[1])
        gain, shift, mean, variance = (constants.get(x) for x in held)
        with torch.no_grad():
            if op == "aten.linear.default":
                made = fuse_conv_bn_weights(
                    weight[..., None], bias, mean, variance, epsilon, gain, shift
                )
                made = (made[0][..., 0], made[1])
            else:
                made = fuse_conv_bn_weights(
                    weight, bias, mean, variance, epsilon, gain, shift, transposed
                )
        _give(graph, head, [x.detach() for x in made])
        for user in list(norm.users):
            user.replace_all_uses_with(head)
            graph.graph.erase_node(user)
        graph.graph.erase_node(norm)
    graph.recompile()


def _fold_factors(graph: "GraphModule", constants: "Mapping[Node, Any]") -> None:
    """Products and sums with a constant for each channel, into the linear operator that alone takes
    them, as LiteRT's converter does: those of a normalization are no tensors there."""
    import torch

    aten = torch.ops.aten
    for head in [n for n in graph.graph.nodes if n.target == aten.linear.default]:
        while head.args[1] in constants:
            before = head.args[0]
            factor = constants.get(before.args[1]) if before.target == aten.mul.Tensor else None
            shift = constants.get(before.args[1]) if before.target == aten.add.Tensor else None
            given = factor if factor is not None else shift
            weight = constants[head.args[1]]
            if given is None or len(before.users) > 1 or before.kwargs:
                break
            if not isinstance(given, torch.Tensor) or given.shape != weight.shape[1:]:
                break
            bias = constants.get(head.args[2]) if len(head.args) > 2 else None
            bias = torch.zeros(len(weight)) if bias is None else bias
            with torch.no_grad():
                made = (
                    [weight * factor, bias]
                    if factor is not None
                    else [weight, bias + weight @ given]
                )
            _give(graph, head, made)
            head.args = (before.args[0], *head.args[1:])
            graph.graph.erase_node(before)
            constants = _constants(graph)
    graph.recompile()


def _groups(head: "Node") -> int:
    return int(head.args[6]) if len(head.args) > 6 else 1


def _give(graph: "GraphModule", head: "Node", made: "list[torch.Tensor]") -> None:
    """New weight and bias for an operator."""
    nodes = []
    for word, x in zip(("weight", "bias"), made, strict=True):
        name = f"folded_{head.name}_{word}_{len(graph.graph.nodes)}"
        graph.register_buffer(name, x)
        with graph.graph.inserting_before(head):
            node = graph.graph.get_attr(name)
        node.meta["val"] = x
        nodes.append(node)
    head.args = (head.args[0], *nodes, *head.args[3:])


def _parts() -> "dict[Any, Callable[..., Any]]":
    """Decompositions of operators that LiteRT has no single one for."""
    import torch
    from torch.export import default_decompositions

    aten = torch.ops.aten
    defaults = default_decompositions()
    own: dict[Any, Callable[..., Any]] = {
        aten.layer_norm.default: _layer_norm,
        aten.scaled_dot_product_attention.default: _attention,
    }
    return own | {op: defaults[op] for op in (aten.silu.default, aten.rms_norm.default)}


def _layer_norm(
    x: "torch.Tensor",
    shape: "list[int]",
    weight: "torch.Tensor | None" = None,
    bias: "torch.Tensor | None" = None,
    eps: float = 1e-5,
    _cudnn: bool = True,
) -> "torch.Tensor":
    """With the tensors that LiteRT has: the square of the difference is one operator there."""
    import torch

    axes = list(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    square = torch.nn.functional.mse_loss(x, mean.expand_as(x), reduction="none")
    factor = square.mean(axes, keepdim=True).add(eps).rsqrt()
    y = x * factor - mean * factor
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _attention(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    mask: "torch.Tensor | None" = None,
    _dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> "torch.Tensor":
    import torch

    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(times, -3) for x in (key, value))
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query.matmul(key.transpose(-2, -1)) * factor
    if is_causal:
        kept = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~kept, float("-inf"))
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(-1).matmul(value)
