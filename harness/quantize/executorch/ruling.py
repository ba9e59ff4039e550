"""Which operators a recipe's rules leave in float. Everything here runs in an isolated process."""

from typing import TYPE_CHECKING

from harness.quantize.layers import check_rules_used, op_of_torch
from harness.quantize.provenance import module_path, origin
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch

_GROUPS = 6


def left_by_rules(graph: "torch.fx.Graph", recipe: Recipe, what: str) -> set[str]:
    """Operators of the float graph that the recipe leaves in float by a rule, by `origin`.

    Raises:
        ModelError: a rule takes no layer.
    """
    if not recipe.rules:
        return set()
    nodes = [node for node in graph.nodes if node.op == "call_function"]
    layers = [(module_path(node), op_of(node)) for node in nodes]
    check_rules_used(recipe.rules, layers, what)
    return {
        origin(node)
        for node, layer in zip(nodes, layers, strict=True)
        if recipe.scheme_of(*layer).mode == "float"
    }


def op_of(node: "torch.fx.Node") -> str:
    """What a node computes, in the word of a recipe's rules."""
    name = str(getattr(node.target, "__name__", node.target)).partition(".")[0].rstrip("_")
    if not name.startswith("conv"):
        return op_of_torch(name)
    groups = node.args[_GROUPS] if len(node.args) > _GROUPS else 1
    x = node.args[0].meta["val"] if hasattr(node.args[0], "meta") else None
    inputs = int(x.shape[1]) if x is not None and x.ndim > 2 else 0
    return op_of_torch(name, int(groups), inputs)
