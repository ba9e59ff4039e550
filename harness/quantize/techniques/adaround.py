"""AdaRound: whether each weight is rounded down or up is learned, layer by layer, so that the layer
comes nearest to the float one behind its activation function."""

from typing import TYPE_CHECKING

from pydantic import Field

from harness.quantize.float_model.grid import Grid, Search
from harness.quantize.float_model.products import rows_of
from harness.quantize.float_model.refitting import product_of, refit, tail_of
from harness.quantize.float_model.walking import Turn, walk
from harness.quantize.technique import Draft, Options, Technique, integer_weights_only

if TYPE_CHECKING:
    import torch

_MOST_FLOATS = 2**24
_MOST_PLACES, _LEAST_PLACES = 4096, 128
_STRETCH = (-0.1, 1.1)
"""What the sigmoid is stretched to before it is clipped, so that 0 and 1 are reached."""
_WARM_UP = 0.2
"""Share of the iterations before weights are pushed to a side."""


class AdaRound(Options):
    """Attributes:
    iterations: of each layer.
    batch: places of a layer's output that an iteration looks at.
    rate: of learning.
    push: pressure to decide, against the error of plain rounding.
    prior: places that speak for plain rounding: the fewer the samples, the more it weighs.
    worth: what plain rounding must cost a layer, against what its outputs vary by, for anything
        to be learned: 0.001 is 30 dB.
    scale: ``max`` reaches the largest weight of a channel; ``mse`` may clip it.
    refit: whether scale and bias of each channel are fitted afterwards.
    seed: of what is drawn at random.
    """

    iterations: int = Field(default=400, ge=1, le=100_000)
    batch: int = Field(default=128, ge=1, le=65536)
    rate: float = Field(default=0.1, gt=0, le=10)
    push: float = Field(default=2.0, ge=0)
    prior: float = Field(default=16.0, ge=0)
    worth: float = Field(default=3e-4, ge=0)
    scale: Search = "mse"
    refit: bool = True
    seed: int = 0


def choose(draft: Draft, options: AdaRound) -> None:
    """Put each weight on a grid, in the order in which the layers run."""
    for turn in walk(draft, "AdaRound"):
        before, grid = turn.rows(), turn.grid(options.scale)
        turn.put(_Rounding(turn, grid, options).learned() * grid.scale)
        if options.refit:
            refit(turn, before)


class _Rounding:
    """One layer: places of its input, and what it should give there."""

    def __init__(self, turn: Turn, grid: Grid, options: AdaRound) -> None:
        self._turn, self._grid, self._options = turn, grid, options
        self._tail = tail_of(turn)
        self._rows = turn.rows()
        columns = self._rows.shape[1] * turn.layer.groups
        most = min(_MOST_PLACES, max(_LEAST_PLACES, _MOST_FLOATS // columns))
        floats, self._x = turn.factors(most, options.seed)
        self._wanted = self._given(floats, self._rows)
        spread = self._wanted.var(0, correction=0)
        self._spread = spread + 1e-4 * spread.mean() + 1e-12
        alone = self._x.square().mean(1, keepdim=True) * rows_of(turn.layer, grid.scale.square())
        self._slack = alone.reshape(self._rows.shape) / self._spread[:, None]
        self._slack *= options.prior / self._x.shape[1]

    def _given(self, factors: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """Behind the activation function: (places, channels)."""
        return self._tail.activated(self._tail(product_of(self._turn, factors, rows)))

    def _error(self, codes: "torch.Tensor", places: "torch.Tensor | slice") -> "torch.Tensor":
        """Of each channel, relative to how much it varies."""
        given = self._given(self._x[:, places], codes * self._grid.scale)
        apart = (given - self._wanted[places]).square().mean(0) / self._spread
        from_float = codes - self._rows / self._grid.scale
        return apart + (self._slack * from_float.square()).sum(1)

    def learned(self) -> "torch.Tensor":
        """Whole numbers, (rows, columns): of each channel the learned ones only where they beat
        plain rounding on all places."""
        import torch

        nearest = self._grid.nearest(self._rows)
        if self._cost(nearest) < self._options.worth:
            return nearest
        plain = self._error(nearest, slice(None))
        with torch.enable_grad():
            codes = self._descend(float(plain.mean()))
        error = self._error(codes, slice(None))
        if self._turn.scheme.weight_granularity == "tensor":
            plain, error = plain.sum(), error.sum()
        return codes.where((error < plain).reshape(-1, 1), nearest)

    def _cost(self, codes: "torch.Tensor") -> float:
        """What these numbers alone add to the error, as the mean over the channels."""
        as_float, given = (
            self._given(self._x, rows) for rows in (self._rows, codes * self._grid.scale)
        )
        return float(((as_float - given).square().mean(0) / self._spread).mean())

    def _descend(self, plain: float) -> "torch.Tensor":
        import torch

        low, high = _STRETCH
        grid, options = self._grid, self._options
        scaled = (self._rows / grid.scale).clamp(-grid.largest, grid.largest)
        down = grid.settled(scaled.floor(), self._rows)
        free = (~grid.pinned & (down < grid.largest)).float()
        choice = torch.logit(((scaled - scaled.floor()) - low) / (high - low)).requires_grad_()
        optimizer = torch.optim.Adam([choice], options.rate, fused=True)
        generator = torch.Generator().manual_seed(options.seed)
        for done in range(options.iterations):
            up = (torch.sigmoid(choice) * (high - low) + low).clamp(0, 1)
            places = torch.randint(self._x.shape[1], (options.batch,), generator=generator)
            loss = self._error(down + up * free, places).mean()
            pressed = (done / options.iterations - _WARM_UP) / (1 - _WARM_UP)
            if pressed > 0:
                undecided = 1 - (2 * up - 1).square().mean()
                loss = loss + options.push * plain * pressed * undecided
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return down + (choice.detach() > 0) * free


TECHNIQUE = Technique(
    name="adaround",
    stage="weights",
    options=AdaRound,
    apply=choose,
    summary="rounds each weight down or up so that its layer gives what it gave",
    reference="Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization",
    refuses=integer_weights_only,
    helps=(
        "At four bits, most of all with rectifications behind the layers. Minutes for a network of "
        "fifty layers. At eight bits most layers are left alone: see the option worth."
    ),
)
