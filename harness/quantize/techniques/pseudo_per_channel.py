"""Scales of channels that make one quantization step serve a whole tensor as if each channel had
its own. They are undone in the next layers, also behind ReLU6 where its bound is not in the way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from harness.errors import ModelError
from harness.quantize.float_model.groups import Axes, Group, columns, rows, scale_groups
from harness.quantize.float_model.layers import Layer, exported, layers_of
from harness.quantize.float_model.sensitivity import Sensitivity, sensitivity_of
from harness.quantize.technique import Draft, Options, Technique
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]

_MOST = math.log(32)
"""No channel is scaled further than that."""

_UNSEEN = 0.1
"""Share of the mean sensitivity that every weight and channel has at least: what the few samples do
not reach may matter to others."""


class PseudoPerChannel(Options):
    """Attributes:
    rounds: steps of the search for the scales.
    samples: of the calibration data that are used, at most.
    probes: random sums of the outputs whose gradients are taken, for each sample.
    margin: how far beyond its highest value on the samples a channel is taken to go.
    deviations: and how many standard deviations beyond the mean that batch normalization has of it.
    """

    rounds: int = Field(default=150, ge=1, le=10_000)
    samples: int = Field(default=8, ge=1, le=4096)
    probes: int = Field(default=1, ge=1, le=1000)
    margin: float = Field(default=1.1, ge=1.0, le=10.0)
    deviations: float = Field(default=4.0, ge=0.0, le=100.0)


def rescale(draft: Draft, options: PseudoPerChannel) -> None:
    """Find the scales with the least noise in the outputs, and apply them.

    Raises:
        ModelError: no layer feeds another so that a scale could be undone.
    """
    import torch

    state = draft.module.state_dict()
    graph = exported(draft)
    groups = scale_groups(graph.graph, state)
    if not groups:
        raise ModelError(
            "step pseudo_per_channel finds no two layers between which a scale could be undone; "
            "leave it out"
        )
    layers = layers_of(graph.graph, state)
    sites = {node: group.axes[node] for group in groups for node in _stored(group)}
    ahead = {node.args[0]: g.axes[node.args[0]] for g in groups for node, _ in g.clamps}
    batches = draft.batches[: options.samples]
    found = sensitivity_of(graph, layers, sites | ahead, batches, options.probes)
    noise = _Noise(draft.recipe, groups, layers, found, sites, state)
    bounds = [_bound(group, found, options, state) for group in groups]
    for group, factor in zip(groups, _least(noise, bounds, options.rounds), strict=True):
        with torch.no_grad():
            group.scale(state, factor)


def _stored(group: Group) -> "list[torch.fx.Node]":
    """Nodes whose outputs are rounded: not those that a runtime merges with the next, nor those
    that only move values."""
    return [node for node in group.axes if _rounds(node) and not _is_merged(node)]


def _name(node: "torch.fx.Node") -> str:
    return str(node.target).split(".")[1].rstrip("_") if node.op == "call_function" else ""


def _rounds(node: "torch.fx.Node") -> bool:
    moves = "dropout contiguous clone alias detach pad constant_pad_nd view reshape flatten"
    moves += " unsqueeze squeeze transpose permute max_pool1d max_pool2d adaptive_max_pool2d"
    return _name(node) not in moves.split()


def _is_merged(node: "torch.fx.Node") -> bool:
    merged = {"relu", "relu6", "hardtanh", "clamp", "batch_norm"}
    return len(node.users) == 1 and _name(next(iter(node.users))) in merged


def _bound(
    group: Group, found: Sensitivity, options: PseudoPerChannel, state: "State"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Least and greatest logarithm of each channel's scale: 0 where an upper bound cuts it off."""
    import torch

    low, high = torch.full((group.size,), -_MOST), torch.full((group.size,), _MOST)
    norms = {layer.last: layer.norm for layer in group.makers if layer.norm}
    for node, bound in group.clamps:
        highest = found.highest[node.args[0]] * options.margin
        if norm := norms.get(node.args[0]):
            usual = state[norm.shift] + options.deviations * state[norm.gain].abs()
            highest = torch.maximum(highest, usual)
        room = torch.log(bound / highest.clamp(min=bound * 1e-6))
        high = torch.minimum(high, room.clamp(min=0))
        low = torch.where(highest > bound, 0.0, low)
    return low, high


@dataclass(frozen=True, eq=False)
class _Noise:
    """What rounding adds to the variance of the outputs, by the scales of all groups."""

    recipe: Recipe
    groups: Sequence[Group]
    layers: Sequence[Layer]
    found: Sensitivity
    sites: "Mapping[torch.fx.Node, Axes]"
    state: "State"

    def prepared(self) -> "list[tuple[Layer, torch.Tensor, torch.Tensor, int | None, int | None]]":
        """Of each layer its greatest weights and their sensitivity, (outputs, inputs), and the
        groups that it makes and takes."""
        made = {layer.weight: i for i, group in enumerate(self.groups) for layer in group.makers}
        taken = {layer.weight: i for i, group in enumerate(self.groups) for layer in group.takers}
        prepared = []
        for layer in self.layers:
            if layer.weight not in made and layer.weight not in taken:
                continue
            weight = layer.folded(self.state)
            slope = rows(layer.slope(self.state), weight)
            square = _at_least(self.found.weights[layer]) / slope.square().clamp(min=1e-24)
            flat = (len(weight), weight.shape[1], -1)
            prepared.append(
                (
                    layer,
                    weight.abs().reshape(flat).amax(2),
                    square.reshape(flat).sum(2),
                    made.get(layer.weight),
                    taken.get(layer.weight),
                )
            )
        return prepared

    def of_layer(
        self,
        layer: Layer,
        highest: "torch.Tensor",
        square: "torch.Tensor",
        out: "torch.Tensor | None",
        into: "torch.Tensor | None",
    ) -> "torch.Tensor":
        """Noise of one layer's weights. Only what sets the step is differentiated through."""
        import torch

        count = len(highest)
        out = highest.new_ones(count) if out is None else out
        if into is None:
            into = highest.new_ones(layer.groups * highest.shape[1])
        spread = _each(into, layer)
        with torch.no_grad():
            scaled = highest / columns(into, layer, highest)
            scaled.mul_(out[:, None])
            inputs = scaled.argmax(1)
            outputs = torch.arange(count)
            if self.recipe.weight_granularity == "tensor":
                outputs = scaled[outputs, inputs].argmax().reshape(1)
                inputs = inputs[outputs]
        part = outputs // (count // layer.groups)
        step = highest[outputs, inputs] * out[outputs] / spread[part, inputs]
        levels = 2 ** ((self.recipe.weight_bits or 8) - 1) - 1
        grouped = square.reshape(layer.groups, -1, square.shape[1])
        moved = torch.bmm(grouped, spread.square()[:, :, None]).flatten()
        return (moved / out.square() * (step / levels).square()).sum() / 12

    def of_activations(self, factors: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Noise of all activations that are rounded."""
        import torch

        levels = 2 ** (self.recipe.activation_bits or 8) - 1
        total = torch.zeros(())
        for group, factor in zip(self.groups, factors, strict=True):
            for node in _stored(group):
                high = (self.found.highest[node] * factor).amax().clamp(min=0)
                low = (self.found.lowest[node] * factor).amin().clamp(max=0)
                step = (high - low) / levels
                square = _at_least(self.found.activations[node])
                total = total + (square / factor.square()).sum() * step**2
        return total / 12


def _at_least(square: "torch.Tensor") -> "torch.Tensor":
    return square + _UNSEEN * square.mean()


def _each(factor: "torch.Tensor", layer: Layer) -> "torch.Tensor":
    """Of input channels, (groups, channels of each)."""
    return factor.reshape(layer.groups, -1)


def _least(
    noise: _Noise, bounds: "Sequence[tuple[torch.Tensor, torch.Tensor]]", rounds: int
) -> "list[torch.Tensor]":
    """The factors of each group with the least noise that a descent from ones comes across."""
    import torch

    logs = [torch.zeros_like(low, requires_grad=True) for low, _ in bounds]
    optimizer = torch.optim.Adam(logs, lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    prepared = noise.prepared()
    least, best = math.inf, [x.detach().exp() for x in logs]
    for _ in range(rounds):
        factors = [x.clamp(low, high).exp() for x, (low, high) in zip(logs, bounds, strict=True)]
        total = torch.zeros(())
        for layer, highest, square, out, into in prepared:
            total = total + noise.of_layer(
                layer,
                highest,
                square,
                None if out is None else factors[out],
                None if into is None else factors[into],
            )
        if noise.recipe.mode == "static":
            total = total + noise.of_activations(factors)
        current = float(total.detach())
        if current < least:
            least, best = current, [x.detach().clone() for x in factors]
        optimizer.zero_grad()
        total.log().backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for x, (low, high) in zip(logs, bounds, strict=True):
                x.copy_(x.clamp(low, high))
    return best


def _refuses(recipe: Recipe, _runtime: str) -> str:
    return "" if recipe.weight_bits else "the recipe leaves weights in float"


TECHNIQUE = Technique(
    name="pseudo_per_channel",
    stage="graph",
    options=PseudoPerChannel,
    apply=rescale,
    summary="scales channels where the next layers undo it, so that one step serves them all",
    reference="Meller et al. 2019, Same, Same but Different: Recovering Neural Network "
    "Quantization Error Through Weight Factorization",
    refuses=_refuses,
    keeps_values=False,
)
