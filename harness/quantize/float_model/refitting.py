"""Scale and bias of each output channel, fitted so that behind the activation function the layer
with whole numbers comes nearest to the float one. Both are free: no runtime computes more for it.

Rounding shrinks and shifts what a channel gives; where a rectification cuts half of it off, to keep
the mean before it would be the wrong thing to do. Isolated only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.quantize.float_model.products import activation_of, rows_of
from harness.quantize.float_model.walking import Turn

if TYPE_CHECKING:
    import torch

_MOST_PLACES, _LEAST_PLACES = 2048, 64
_MOST_FLOATS = 2**24
_ROUNDS = 8
_PRIOR = 8.0
"""Places that speak for leaving scale and bias as they are: seven samples alone prove little."""


@dataclass(frozen=True, eq=False)
class Tail:
    """What comes behind a layer's product, channel by channel.

    Attributes:
        shift: of bias and norm, (channels,).
        activation: the operator behind, or None.
    """

    shift: "torch.Tensor"
    activation: "torch.fx.Node | None"

    def __call__(self, product: "torch.Tensor") -> "torch.Tensor":
        """Of (places, channels), before the activation function: `activated` comes next."""
        return product + self.shift

    def activated(self, x: "torch.Tensor") -> "torch.Tensor":
        """Behind it."""
        if self.activation is None:
            return x
        given, others = self.activation.args[1:], self.activation.kwargs
        taken: torch.Tensor = self.activation.target(x.clone(), *given, **others)
        return taken


def tail_of(turn: Turn) -> Tail:
    """Of the draft's module as it is."""
    layer, state = turn.layer, turn.state
    slope = layer.slope(state)
    shift = state[layer.bias] * slope if layer.bias else slope * 0
    if layer.norm:
        shift = shift - state[layer.norm.mean] * slope + state[layer.norm.shift]
    return Tail(shift, activation_of(layer))


def product_of(turn: Turn, factors: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
    """(places, channels) of what `Turn.factors` gives and rows as `Turn.rows` has them."""
    return (factors @ rows_of(turn.layer, rows).mT).transpose(0, 1).flatten(1)


def refit(turn: Turn, before: "torch.Tensor") -> None:
    """Change the draft's module in place.

    Args:
        before: the float rows.
    """
    columns = before.shape[1] * turn.layer.groups
    most = min(_MOST_PLACES, max(_LEAST_PLACES, _MOST_FLOATS // columns))
    floats, chosen = turn.factors(most)
    tail, rows = tail_of(turn), turn.rows()
    wanted = tail.activated(tail(product_of(turn, floats, before)))
    has_bias = bool(turn.layer.norm or turn.layer.bias)
    free = (turn.scheme.weight_granularity == "channel", has_bias)
    scale, bias = _fitted(tail(product_of(turn, chosen, rows)), wanted, tail, free)
    turn.put(rows * scale[:, None])
    if turn.layer.norm:
        turn.state[turn.layer.norm.shift].add_((scale - 1) * tail.shift + bias)
    elif turn.layer.bias:
        turn.state[turn.layer.bias].add_((scale - 1) * tail.shift + bias)


def _fitted(
    x: "torch.Tensor", wanted: "torch.Tensor", tail: Tail, free: tuple[bool, bool]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Scale and bias for each channel by damped Gauss-Newton; never worse than 1 and 0.

    Args:
        x: (places, channels) before the activation function.
        wanted: behind it.
        free: whether scale and bias may change.
    """
    import torch

    weight = torch.stack((x.square().mean(0), torch.ones_like(x[0])))
    ridge, may = _PRIOR * weight, torch.tensor(free)[:, None]
    start = torch.stack((torch.ones_like(x[0]), torch.zeros_like(x[0])))

    def loss(theta: "torch.Tensor") -> "torch.Tensor":
        error = (tail.activated(theta[0] * x + theta[1]) - wanted).square().sum(0)
        return error + (ridge * (theta - start).square()).sum(0)

    best, least = start, loss(start)
    damp = torch.full_like(least, 1e-3)
    for _ in range(_ROUNDS):
        with torch.enable_grad():
            taken = (best[0] * x + best[1]).requires_grad_()
            given = tail.activated(taken)
            (slope,) = torch.autograd.grad(given.sum(), taken)
        j = torch.stack((slope * x, slope)) * may[:, None]  # (2, places, channels)
        normal = (j[:, None] * j).sum(2).permute(2, 0, 1)
        right = (j * (wanted - given.detach())).sum(1).T - (ridge * (best - start)).T
        diagonal = (ridge + damp * (len(x) * weight)).T + 1e-12
        step = torch.linalg.solve(normal + torch.diag_embed(diagonal), right).T
        tried = best + step * may
        now = loss(tried)
        better = (now < least) & (tried[0] > 0)
        best, least = tried.where(better, best), now.where(better, least)
        damp = torch.where(better, damp / 4, damp * 8)
    return best[0], best[1]
