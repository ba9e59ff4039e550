"""Leaves attention masks in float on ExecuTorch.

XNNPACK's softmax is one of floats, so an addition of a mask right before it need not be quantized;
and eight bits cannot hold -inf or -1e9 beside scores.
"""

from collections.abc import Set
from typing import TYPE_CHECKING

from harness.quantize.finite import Spans

if TYPE_CHECKING:
    import torch

_NOT_FINITE = 1e30
"""Beyond it: -inf, or the least float32, which stands for it."""
_MASKED = -30.0
"""exp(-30) is 1e-13: such a score gets nothing of a softmax."""


def masked_nodes(graph_module: "torch.fx.GraphModule", seen: Spans) -> frozenset[str]:
    """Names of the nodes that take or give the values of a mask.

    Args:
        graph_module: exported, in float.
        seen: what its nodes gave, see `observe`.
    """
    scores = _before_softmax(graph_module)
    found = set()
    for node in graph_module.graph.nodes:
        spans = [seen[one.name] for one in (node, *node.all_input_nodes) if one.name in seen]
        least = min((low for low, _ in spans), default=0.0)
        most = max((high for _, high in spans), default=0.0)
        if max(-least, most) > _NOT_FINITE or (node in scores and least < _MASKED):
            found.add(node.name)
    return frozenset(found)


def leave_in_float(graph_module: "torch.fx.GraphModule", names: Set[str]) -> None:
    """Take the annotations off the nodes of these names."""
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    for node in graph_module.graph.nodes:
        if node.name in names:
            node.meta.pop(Q_ANNOTATION_KEY, None)


def _before_softmax(graph_module: "torch.fx.GraphModule") -> "set[torch.fx.Node]":
    """Nodes whose values reach a softmax with nothing but sums, products and moves between."""
    import torch

    aten = torch.ops.aten
    softmax = {aten.softmax.int, aten._softmax.default, aten.log_softmax.int, aten.exp.default}
    between = {
        aten.add.Tensor,
        aten.add_.Tensor,
        aten.sub.Tensor,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.view.default,
        aten.reshape.default,
        aten.unsqueeze.default,
        aten.squeeze.dim,
        aten.expand.default,
        aten.permute.default,
        aten.transpose.int,
        aten.slice.Tensor,
        aten.masked_fill.Scalar,
        aten.where.self,
        aten.where.ScalarSelf,
        aten.where.ScalarOther,
    }
    found: set[torch.fx.Node] = set()
    for node in reversed(graph_module.graph.nodes):
        if node.target in between and any(
            user in found or user.target in softmax for user in node.users
        ):
            found.add(node)
    return found
