"""Which operators a recipe's rules leave in float. Everything here runs in an isolated process."""

from typing import TYPE_CHECKING

from harness.quantize.layers import check_rules_used, op_of
from harness.quantize.provenance import module_path, origin
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch


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
