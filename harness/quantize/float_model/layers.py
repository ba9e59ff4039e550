"""The layers with weights in a float model's exported graph. Isolated only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.quantize.executorch.moves import changes_in_place
from harness.quantize.technique import Draft

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Norm:
    """Batch normalization. Names in the module's state.

    Attributes:
        gain, shift: of its affine part.
        mean, variance: its running statistics.
        epsilon: added to the variance.
    """

    gain: str
    shift: str
    mean: str
    variance: str
    epsilon: float

    def slope(self, state: "State") -> "torch.Tensor":
        """What it multiplies each channel with."""
        return state[self.gain] / (state[self.variance] + self.epsilon).sqrt()


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or fully connected layer, with the batch normalization that folds into it.

    Attributes:
        node: of the graph.
        weight: its name in the module's state; output channels come first.
        bias: its name; None without one.
        norm: None without one.
        last: the node of the norm, or of the layer itself.
        groups: of a convolution; 1 for others.
    """

    node: "torch.fx.Node"
    weight: str
    bias: str | None
    norm: Norm | None
    last: "torch.fx.Node"
    groups: int

    def slope(self, state: "State") -> "torch.Tensor":
        """What its norm multiplies each output channel with: ones without a norm."""
        if self.norm is None:
            return state[self.weight].new_ones(len(state[self.weight]))
        return self.norm.slope(state)

    def folded(self, state: "State") -> "torch.Tensor":
        """Its weight with the norm folded in, as it is quantized."""
        weight = state[self.weight]
        return weight * self.slope(state).reshape(-1, *[1] * (weight.ndim - 1))

    @property
    def channel_axis(self) -> int:
        """Of what it takes and gives: 1 for a convolution, the last for others."""
        return 1 if is_convolution(self.node) else -1


def exported(draft: Draft) -> "torch.fx.GraphModule":
    """The draft's module as a graph that shares its tensors."""
    import torch

    program = torch.export.export(draft.module, draft.examples)
    graph: torch.fx.GraphModule = program.module(check_guards=False)
    if changes_in_place(graph):
        graph = program.run_decompositions({}).module(check_guards=False)
    return graph


def layers_of(graph: "torch.fx.Graph", state: "State") -> list[Layer]:
    """All layers whose parameters serve them alone, in the order of the graph."""
    own = single_uses(graph, state)
    found = [_layer(node) for node in graph.nodes if is_layer(node)]
    return [x for x in found if x is not None and own.issuperset(_tensors(x))]


def is_layer(node: "torch.fx.Node") -> bool:
    """Whether the node is a layer with weights."""
    import torch

    return is_convolution(node) or node.target == torch.ops.aten.linear.default


def is_convolution(node: "torch.fx.Node") -> bool:
    """Of one, two or three axes; not transposed."""
    import torch

    aten = torch.ops.aten
    kinds = (aten.conv1d, aten.conv2d, aten.conv3d)
    return node.target in {x for kind in kinds for x in (kind.default, kind.padding)}


def argument(node: "torch.fx.Node", place: int) -> Any:  # noqa: ANN401  as torch.fx has it
    """The argument at a place; None where it was left out."""
    return node.args[place] if len(node.args) > place else None


def parameter(node: "torch.fx.Node", place: int) -> str | None:
    """The name of the parameter at a place of a node's arguments."""
    taken = argument(node, place)
    return str(taken.target) if getattr(taken, "op", "") == "get_attr" else None


def norm_of(node: "torch.fx.Node") -> Norm | None:
    """Of a node of batch normalization that has an affine part."""
    gain, shift, mean, variance = (parameter(node, place) for place in (1, 2, 3, 4))
    if gain is None or shift is None or mean is None or variance is None:
        return None
    return Norm(gain, shift, mean, variance, float(node.args[7]))


def _layer(node: "torch.fx.Node") -> Layer | None:
    import torch

    weight, bias = parameter(node, 1), parameter(node, 2)
    if weight is None or (bias is None and argument(node, 2) is not None):
        return None
    users = list(node.users)
    norm, last = None, node
    if is_convolution(node) and [x.target for x in users] == [torch.ops.aten.batch_norm.default]:
        norm = norm_of(users[0])
        last = users[0] if norm else node
    groups = int(argument(node, 6) or 1) if is_convolution(node) else 1
    return Layer(node, weight, bias, norm, last, groups)


def _tensors(layer: Layer) -> list[str]:
    norm = layer.norm
    owned = [layer.weight, layer.bias, *((norm.gain, norm.shift) if norm else ())]
    return [name for name in owned if name is not None]


def single_uses(graph: "torch.fx.Graph", state: "State") -> set[str]:
    """Names of parameters that one node takes alone, by this name or another."""
    uses: dict[int, int] = {}
    taken = [node for node in graph.nodes if node.op == "get_attr" and node.target in state]
    for node in taken:
        place = state[node.target].data_ptr()
        uses[place] = uses.get(place, 0) + len(node.users)
    return {str(node.target) for node in taken if uses[state[node.target].data_ptr()] == 1}
