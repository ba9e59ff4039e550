"""Runs a graph and shows every value on the way. Isolated only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def run_watched(
    graph_module: "torch.fx.GraphModule",
    inputs: "tuple[torch.Tensor, ...]",
    see: "Callable[[torch.fx.Node, Any], None]",
) -> Any:  # noqa: ANN401  whatever the graph returns
    """Run a graph once.

    Args:
        inputs: of its placeholders.
        see: called with each node and its value, in execution order.

    Returns:
        The graph's output.
    """
    import torch

    class Watching(torch.fx.Interpreter):  # type: ignore[misc]  # torch is untyped here
        def run_node(self, node: torch.fx.Node) -> Any:  # noqa: ANN401
            value = super().run_node(node)
            see(node, value)
            return value

    with torch.no_grad():
        return Watching(graph_module).run(*inputs)
