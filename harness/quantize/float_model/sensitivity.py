"""How much noise on a weight or an activation moves what the float model gives. Isolated only.

To first order, independent noise of variance v on a value x adds v (dy/dx)^2 to the variance of an
output y. The squares are estimated by Hutchinson's way: the gradient of random sums of all outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.quantize.float_model.groups import Axes, by_channel
from harness.quantize.float_model.layers import Layer

if TYPE_CHECKING:
    import torch

    Tensors = dict[Any, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Attributes:
    weights: of each layer's weight, element by element, as the module has it.
    activations: of each node's output, (channels,), summed over positions.
    lowest, highest: values that each channel of these outputs took.
    """

    weights: "Tensors"
    activations: "Tensors"
    lowest: "Tensors"
    highest: "Tensors"


def sensitivity_of(
    graph: "torch.fx.GraphModule",
    layers: Sequence[Layer],
    sites: "Mapping[torch.fx.Node, Axes]",
    batches: Sequence[tuple[Any, ...]],
    probes: int,
) -> Sensitivity:
    """Measure on all batches.

    Args:
        sites: nodes whose outputs are looked at, with the axes of their channels.
        probes: random sums for each batch.
    """
    import torch

    found = Sensitivity({}, {}, {}, {})
    parameters = dict(graph.named_parameters()) | dict(graph.named_buffers())
    weights = {layer: parameters[layer.weight].detach().clone() for layer in layers}
    names = {layer.weight: weights[layer].requires_grad_() for layer in layers}
    generator = torch.Generator().manual_seed(0)
    added: dict[torch.fx.Node, torch.Tensor] = {}

    class Watched(torch.fx.Interpreter):  # type: ignore[misc]  # torch is untyped here
        def run_node(self, node: torch.fx.Node) -> Any:  # noqa: ANN401  as torch.fx has it
            if node.op == "get_attr" and node.target in names:
                return names[node.target]
            y = super().run_node(node)
            if node in sites:
                _widen(found, node, by_channel(y.detach(), sites[node]))
                added[node] = torch.zeros_like(y, requires_grad=True)
                y = y + added[node]
            return y

    for batch in batches:
        with torch.enable_grad():
            given = [x.clone() for x in batch]
            outputs = [y for y in Watched(graph).run(*given) if y.requires_grad]
        for _ in range(probes):
            signs = [torch.randint(0, 2, y.shape, generator=generator) * 2.0 - 1 for y in outputs]
            scales = [y.detach().square().mean().sqrt().clamp(min=1e-12) for y in outputs]
            gradients = torch.autograd.grad(
                sum((y * v).sum() / s for y, v, s in zip(outputs, signs, scales, strict=True)),
                [*weights.values(), *added.values()],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for layer, gradient in zip(layers, gradients, strict=False):
                _add(found.weights, layer, gradient.square())
            for (node, axes), gradient in zip(
                ((node, sites[node]) for node in added), gradients[len(layers) :], strict=True
            ):
                _add(found.activations, node, by_channel(gradient.square(), axes).sum(1))
        added.clear()
    return found


def _widen(found: Sensitivity, node: "torch.fx.Node", x: "torch.Tensor") -> None:
    low, high = x.amin(1), x.amax(1)
    found.lowest[node] = low.minimum(found.lowest.get(node, low))
    found.highest[node] = high.maximum(found.highest.get(node, high))


def _add(sums: "Tensors", key: object, x: "torch.Tensor") -> None:
    sums[key] = sums[key] + x if key in sums else x
