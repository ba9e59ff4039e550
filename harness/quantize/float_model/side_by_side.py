"""The float model beside the one with quantized weights, layer by layer on the same samples.
Isolated only."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from harness.quantize.float_model.layers import Layer

if TYPE_CHECKING:
    import torch

    Outputs = list[torch.Tensor]
    State = Mapping[str, torch.Tensor]
    Values = dict[torch.fx.Node, list[Any]]


def correct_in_order(
    graph: "torch.fx.GraphModule",
    layers: Sequence[Layer],
    weights: "State",
    batches: Sequence[tuple[Any, ...]],
    correct: "Callable[[Layer, Outputs, Outputs], torch.Tensor]",
) -> None:
    """Run both models at once; each layer is corrected before the next ones run.

    Args:
        weights: what the quantized model has in place of the parameters of these names.
        batches: what the module takes, one tuple for each invocation.
        correct: is given a layer and its outputs on all batches, in float and quantized; what it
            returns is added to the quantized ones.
    """
    import torch

    own = {layer.node: layer for layer in layers}
    left = {node: len(node.users) for node in graph.graph.nodes}
    plain: Values = {}
    quantized: Values = {}
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    with torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "output":
                break
            for known, side in ((plain, {}), (quantized, weights)):
                if node in inputs:
                    known[node] = [batch[inputs.index(node)].clone() for batch in batches]
                elif node.op == "get_attr":
                    held = side.get(node.target, attrgetter(node.target)(graph))
                    known[node] = [held] * len(batches)
                else:
                    known[node] = _called(graph, node, known, len(batches))
            if node in own:
                added = correct(own[node], plain[node], quantized[node])
                quantized[node] = [x + added for x in quantized[node]]
            for used in node.all_input_nodes:
                left[used] -= 1
                if not left[used]:
                    del plain[used], quantized[used]


def _called(
    graph: "torch.fx.GraphModule", node: "torch.fx.Node", known: "Values", count: int
) -> list[Any]:
    """What the node gives for each batch."""
    from torch.fx.node import map_arg

    called = attrgetter(node.target)(graph) if node.op == "call_module" else node.target
    given = []
    for index in range(count):
        args = map_arg(node.args, lambda x, index=index: known[x][index])
        kwargs = map_arg(node.kwargs, lambda x, index=index: known[x][index])
        given.append(called(*args, **kwargs))
    return given
