"""Transposed convolutions in groups, one for each group: XNNPACK's quantizer knows no others.

Everything here runs in an isolated process.
"""

from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_GROUPS = 6


def split_groups(graph_module: "torch.fx.GraphModule") -> int:
    """Replace each transposed convolution in groups by one a group, joined; the count.

    The values are the same: a group's outputs depend on its own inputs alone.
    """
    import torch

    aten = torch.ops.aten
    replaced = 0
    for node in list(graph_module.graph.nodes):
        if node.target not in {aten.conv_transpose1d.default, aten.conv_transpose2d.input}:
            continue
        groups = node.args[_GROUPS] if len(node.args) > _GROUPS else 1
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
        constants = [one for one in (weight, bias) if one is not None]
        if groups > 1 and not node.kwargs and all(one.op == "get_attr" for one in constants):
            _split(graph_module, node, groups)
            replaced += 1
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    return replaced


def _split(graph_module: "torch.fx.GraphModule", node: "torch.fx.Node", groups: int) -> None:
    import torch

    aten, graph = torch.ops.aten, graph_module.graph
    x, weight, bias, *settings = node.args + (None,) * max(0, 3 - len(node.args))
    ones = [1] * (x.meta["val"].ndim - 2)
    nothing = [0] * len(ones)
    # Stride, padding, output padding, groups, dilation: what is left out, then the groups.
    settings += [ones, nothing, nothing, 1, ones][len(settings) :]
    settings[_GROUPS - 3] = 1
    inputs, outputs = (each.meta["val"].shape[1] // groups for each in (x, node))
    parts = []
    with graph.inserting_before(node):
        for group in range(groups):
            first, last = group * inputs, (group + 1) * inputs
            taken = graph.call_function(aten.slice.Tensor, (x, 1, first, last))
            taken.meta = {**node.meta, "val": x.meta["val"][:, first:last]}
            own = [
                _constant(graph_module, one, slice(group * size, (group + 1) * size), node)
                for one, size in ((weight, inputs), (bias, outputs))
            ]
            part = graph.call_function(node.target, (taken, *own, *settings))
            made = node.meta["val"][:, group * outputs : (group + 1) * outputs]
            part.meta = {**node.meta, "val": made}
            parts.append(part)
        joined = graph.call_function(aten.cat.default, (parts, 1))
    joined.meta = dict(node.meta)
    node.replace_all_uses_with(joined)
    graph.erase_node(node)


def _constant(
    graph_module: "torch.fx.GraphModule",
    source: "torch.fx.Node | None",
    rows: slice,
    user: "torch.fx.Node",
) -> "torch.fx.Node | None":
    """Rows of a parameter as a parameter of its own."""
    import torch

    if source is None:
        return None
    values = attrgetter(source.target)(graph_module)[rows].detach().clone()
    name = f"{user.name}_{source.name}_{rows.start}"
    setattr(graph_module, name, torch.nn.Parameter(values, requires_grad=False))
    found = graph_module.graph.get_attr(name)
    found.meta = {**source.meta, "val": source.meta["val"][rows]}
    return found
