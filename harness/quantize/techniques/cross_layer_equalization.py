"""Cross-layer equalization: scales move from one convolution to the next, so that the channels of
both are alike and one scale serves them all. The model computes what it computed before."""

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from harness.quantize.technique import Draft, Options, Technique, integer_weights_only

if TYPE_CHECKING:
    import torch


class Equalization(Options):
    """Attributes:
    rounds: how often all pairs are equalized: each changes its neighbours.
    """

    rounds: int = Field(default=20, ge=1, le=1000)


class _Pair(NamedTuple):
    """Two layers with nothing between that a factor cannot pass. Names in the module's state.

    Attributes:
        weight: of the first layer.
        bias: of it, or None.
        norm: weight, bias and variance of the batch normalization behind it, and its epsilon.
        following: weight of the second layer.
        depthwise: whether the second has one filter for each channel.
    """

    weight: str
    bias: str | None
    norm: tuple[str, str, str, float] | None
    following: str
    depthwise: bool


def equalize(draft: Draft, options: Equalization) -> None:
    """Change the parameters of all pairs in place."""
    import torch

    program = torch.export.export(draft.module, draft.examples).module(check_guards=False)
    state = draft.module.state_dict()
    pairs = _pairs(program.graph, state)
    with torch.no_grad():
        for _ in range(options.rounds if pairs else 0):
            for pair in pairs:
                _equalize(pair, state)


def _equalize(pair: _Pair, state: "dict[str, torch.Tensor]") -> None:
    import torch

    weight, following = state[pair.weight], state[pair.following]
    first = weight.abs().flatten(1).amax(1)
    if pair.norm:
        gain, _, variance, epsilon = pair.norm
        first = first * (state[gain].abs() / (state[variance] + epsilon).sqrt())
    second = following.abs().transpose(0, 0 if pair.depthwise else 1).flatten(1).amax(1)
    factor = torch.sqrt(first * second) / first  # both become the square root of their product
    factor = torch.where((first > 0) & (second > 0), factor, 1.0)
    if pair.norm:
        scaled = [state[pair.norm[0]], state[pair.norm[1]]]
    else:
        scaled = [weight, *([state[pair.bias]] if pair.bias else [])]
    for x in scaled:
        x.mul_(factor.reshape(-1, *[1] * (x.ndim - 1)))
    side = 0 if pair.depthwise else 1
    shape = [1] * following.ndim
    shape[side] = -1
    following.div_(factor.reshape(shape))


def _pairs(graph: "torch.fx.Graph", state: "dict[str, torch.Tensor]") -> list[_Pair]:
    """All pairs; of a parameter with several uses none, for a factor would go to all of them."""
    uses: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            uses[node.target] = uses.get(node.target, 0) + len(node.users)
    found = []
    for node in graph.nodes:
        pair = _pair(node) if _is_layer(node) else None
        if pair is None:
            continue
        changed = [pair.weight, pair.bias, pair.following, *(pair.norm or ())[:3]]
        names = [x for x in changed if x is not None]
        own = all(uses.get(name) == 1 and name in state for name in names)
        if own and len({state[name].data_ptr() for name in names}) == len(names):
            found.append(pair)
    return found


def _is_layer(node: "torch.fx.Node") -> bool:
    import torch

    aten = torch.ops.aten
    return node.target in {aten.conv2d.default, aten.linear.default}


def _pair(layer: "torch.fx.Node") -> _Pair | None:
    """The layer with the next, over batch normalization and rectification only. ReLU6 is none: it
    does not let a factor pass."""
    import torch

    aten = torch.ops.aten
    weight, bias = _name(layer, 1), _name(layer, 2)
    norm, node = None, _only_user(layer)
    if node is not None and node.target == aten.batch_norm.default and layer.args[1] is not None:
        gain, shift, variance = _name(node, 1), _name(node, 2), _name(node, 4)
        if not (gain and shift and variance):
            return None
        norm, node = (gain, shift, variance, float(node.args[7])), _only_user(node)
    while node is not None and node.target in {aten.relu.default, aten.relu_.default}:
        node = _only_user(node)
    if node is None or not _is_layer(node) or node.target != layer.target:
        return None
    following = _name(node, 1)
    if weight is None or following is None or (bias is None and _arg(layer, 2) is not None):
        return None
    groups = int(_arg(node, 6) or 1)
    depthwise = groups > 1
    if depthwise and groups != _outputs(layer):
        return None
    if depthwise and _outputs(node) != groups:
        return None
    return _Pair(weight, bias, norm, following, depthwise)


def _arg(node: "torch.fx.Node", place: int) -> Any:  # noqa: ANN401  as torch.fx has it
    return node.args[place] if len(node.args) > place else None


def _name(node: "torch.fx.Node", place: int) -> str | None:
    """Of the parameter at a place of a node's arguments, in the module's state."""
    taken = _arg(node, place)
    return str(taken.target) if getattr(taken, "op", "") == "get_attr" else None


def _outputs(layer: "torch.fx.Node") -> int:
    return int(layer.args[1].meta["val"].shape[0])


def _only_user(node: "torch.fx.Node") -> "torch.fx.Node | None":
    users = list(node.users)
    return users[0] if len(users) == 1 else None


TECHNIQUE = Technique(
    name="cross_layer_equalization",
    stage="graph",
    options=Equalization,
    apply=equalize,
    summary="moves scales between convolutions, so that their channels are alike",
    reference="Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias "
    "Correction",
    refuses=integer_weights_only,
    keeps_values=False,
    helps=(
        "Where the channels of a convolution differ much in range and one scale serves the "
        "whole tensor: networks of depthwise convolutions. With one scale for each channel it "
        "helps less. ReLU6 and other activations that a factor cannot pass stop it."
    ),
)
