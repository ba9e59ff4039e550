"""Why a layer loses: found out by rounding it in other forms. Isolated only.

A cause is named when the form that lacks it loses much less: with a scale for each channel, without
the largest weight, with another range. What none of them mends is a matter of bits.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.judge.diagnosis.layers import is_move
from harness.judge.diagnosis.measuring import Costs, Measured, quantized_nodes
from harness.judge.diagnosis.records import Cause, Channels
from harness.judge.diagnosis.running import Form, Simulation, input_axis

if TYPE_CHECKING:
    import torch

Ratios = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MOST_ASKED = 10
_LEAST_SHARE = 0.01
"""Of the total loss: what costs less is not asked why."""
_HELPS, _HELPS_WHERE_SEEN = 2.5, 1.5
"""A form lacks the cause when it divides the noise by so much; less will do where ranges show the
cause, too."""
_WIDE = 3.0
"""Ranges show it where the widest is so many times the median."""
_FAR = 4.0
"""A channel is far out at so many times the median range."""
_MOST_CHANNELS = 8
_SHOWN_SATURATED = 0.2

WEIGHTS_ONLY = Form(activations=False)
ACTIVATIONS_ONLY = Form(weights=False)
_EACH_OUTPUT = Form(activations=False, weight_scales="output")
_EACH_INPUT = Form(activations=False, weight_scales="input")
_APART = Form(activations=False, apart=True)
_CORRECTED = Form(activations=False, corrected=True)
_EACH_CHANNEL = Form(weights=False, scales="channel")
_WHOLE = Form(weights=False, span=1.0)
_QUARTER, _SIXTEENTH = Form(weights=False, span=1 / 4), Form(weights=False, span=1 / 16)


@dataclass(frozen=True)
class Finding:
    """Why a layer loses.

    Attributes:
        of_weights: share of the loss that its weights make.
        channels: worst first.
    """

    cause: Cause
    why: str
    channels: tuple[int, ...]
    of_weights: float


def shares_of(costs: Costs) -> list[float]:
    """Of each layer, of the losses of all of them alone; they sum to 1."""
    noise = np.array([one.alone.noise for one in costs.layers])
    noise = np.where(np.isfinite(noise), noise, 0.0)
    total = float(noise.sum())
    return [float(x) for x in (noise / total if total > 0 else noise)]


def forms_to_measure(simulation: Simulation, costs: Costs) -> dict[int, tuple[Form, ...]]:
    """The forms that tell causes apart, of the layers that cost most."""
    shares = shares_of(costs)
    worst = sorted(range(len(shares)), key=lambda number: -shares[number])[:_MOST_ASKED]
    wanted = {}
    for number in worst:
        if shares[number] < _LEAST_SHARE:
            continue
        forms: list[Form] = []
        if _weighted(simulation, number):
            forms += [WEIGHTS_ONLY, _EACH_INPUT, _APART, _CORRECTED]
            if simulation.recipe.weight_granularity == "tensor":
                forms.append(_EACH_OUTPUT)
        if quantized_nodes(simulation, number) and simulation.recipe.mode != "weight_only":
            forms += [ACTIVATIONS_ONLY, _EACH_CHANNEL, _WHOLE, _QUARTER, _SIXTEENTH]
        wanted[number] = tuple(forms)
    return wanted


def find_cause(simulation: Simulation, one: Measured, number: int) -> Finding:
    """Why one layer loses."""
    if not one.forms:
        return Finding("none", "it costs too little to ask why", (), 0.5)
    noise = {form: found.noise for form, found in one.forms.items()}
    of_weights, of_activations = (noise.get(x, 0.0) for x in (WEIGHTS_ONLY, ACTIVATIONS_ONLY))
    share = of_weights / (of_weights + of_activations) if of_weights + of_activations else 0.5
    if share >= 0.5:
        cause, why, channels = _of_weights(simulation, one, number, noise)
    else:
        cause, why, channels = _of_activations(simulation, one, number, noise)
    return Finding(cause, why, channels, share)


def facts_of(simulation: Simulation, number: int) -> tuple[float | None, float | None, list[int]]:
    """Ratio of the ranges of weights and of activations over channels, and the dead channels."""
    weights = _weight_ranges(simulation, number)
    ranges = _activation_ranges(simulation, number)
    dead = [] if ranges is None else [int(x) for x in np.flatnonzero(ranges[1])]
    return _ratio(weights), None if ranges is None else _ratio(ranges[0]), dead


def channels_of(simulation: Simulation, number: int, finding: Finding) -> Channels:
    """The facts of a layer's channels."""
    of_weights, of_activations, dead = facts_of(simulation, number)
    return Channels(of_weights, of_activations, finding.channels, tuple(dead))


def _of_weights(
    simulation: Simulation, one: Measured, number: int, noise: dict[Form, float]
) -> tuple[Cause, str, tuple[int, ...]]:
    plain = noise[WEIGHTS_ONLY]
    ranges = _weight_ranges(simulation, number)
    inputs = _weight_ranges(simulation, number, inputs=True)
    each_output = _seen(ranges, _gain(plain, noise.get(_EACH_OUTPUT)))
    each_input = _seen(inputs, _gain(plain, noise.get(_EACH_INPUT)))
    apart, corrected = _gain(plain, noise.get(_APART)), _gain(plain, noise.get(_CORRECTED))
    best = max(each_output, each_input, apart, corrected)
    if best < _HELPS and max(each_output, each_input) < _HELPS_WHERE_SEEN:
        return "few-bits", _bits_of_weights(simulation), _by_error(one)
    if best == each_output:
        return (
            "weight-range-ratio",
            f"one scale for all weights: its widest output channel is {_ratio(ranges):.3g} times "
            "the median",
            _far(ranges),
        )
    if best == apart:
        return (
            "weight-outlier",
            "single weights are far beyond the others of their channel",
            _lone(simulation, number),
        )
    if best == each_input:
        return (
            "weight-range-ratio",
            f"its widest input channel is {_ratio(inputs):.3g} times the median",
            _far(inputs),
        )
    return (
        "bias-shift",
        "rounded weights shift the mean of its outputs, and the shift is most of the loss",
        _by_error(one),
    )


def _of_activations(
    simulation: Simulation, one: Measured, number: int, noise: dict[Form, float]
) -> tuple[Cause, str, tuple[int, ...]]:
    plain = noise[ACTIVATIONS_ONLY]
    whole = _gain(plain, noise.get(_WHOLE)) if simulation.recipe.mode == "static" else 1.0
    narrow = max(_gain(plain, noise.get(_QUARTER)), _gain(plain, noise.get(_SIXTEENTH)))
    clipped, saturated = shares_of_counts(one)
    found = _activation_ranges(simulation, number)
    ranges = None if found is None else found[0]
    each = _seen(ranges, _gain(plain, noise.get(_EACH_CHANNEL)))
    best = max(each, whole, narrow)
    if best < _HELPS and each < _HELPS_WHERE_SEEN:
        return "few-bits", _bits_of_activations(simulation), _by_error(one)
    if best == whole:
        return (
            "clipped",
            f"the recipe's step clips {100 * clipped:.2g} % of its values, and they matter",
            _by_error(one),
        )
    if best == narrow and saturated >= _SHOWN_SATURATED:
        return (
            "saturated",
            f"{100 * saturated:.2g} % of its values lie where the function behind it is flat",
            _far(ranges) or _by_error(one),
        )
    far = _far(ranges)
    if best == narrow or 0 < len(far) <= max(1, len(ranges if ranges is not None else ()) // 8):
        what = "few channels" if far else "few values"
        return (
            "activation-outlier",
            f"{what} take the range of all: the widest channel has {_ratio(ranges):.3g} times the "
            "median",
            far,
        )
    return (
        "activation-range-ratio",
        f"one scale for channels of many ranges: the widest has {_ratio(ranges):.3g} times the "
        "median",
        far or _by_error(one),
    )


def shares_of_counts(one: Measured) -> tuple[float, float]:
    """The clipped and the saturated share of a layer's values."""
    values, clipped, saturated, could = one.counts
    return float(clipped / values) if values else 0.0, float(saturated / could) if could else 0.0


def _gain(plain: float, noise: float | None) -> float:
    """What a form divides the noise by; 1 where it was not measured."""
    if noise is None:
        return 1.0
    return plain / noise if noise > 0 else float("inf")


def _seen(ranges: Ratios | None, gain: float) -> float:
    """What a scale for each channel gains, where their ranges differ; else 1: it also rounds less
    by chance."""
    return gain if (_ratio(ranges) or 0.0) >= _WIDE else 1.0


def _bits_of_weights(simulation: Simulation) -> str:
    return f"{simulation.recipe.weight_bits or 8} bits are few for its weights"


def _bits_of_activations(simulation: Simulation) -> str:
    return f"{simulation.recipe.activation_bits or 8} bits are few for its activations"


def _weighted(simulation: Simulation, number: int) -> bool:
    return any(n in simulation.integers.weights for n in simulation.layers.nodes[number])


def _weights(simulation: Simulation, number: int, *, inputs: bool = False) -> "torch.Tensor | None":
    """A layer's weights, a row for each output (or input) channel."""
    for node in simulation.layers.nodes[number]:
        held = simulation.program.weights.get(node)
        if held is not None:
            x: torch.Tensor = simulation.program.constants[held.node]
            axis = input_axis(held.axis, x.ndim) if inputs else held.axis
            return x.movedim(axis, 0).flatten(1)
    return None


def _weight_ranges(simulation: Simulation, number: int, *, inputs: bool = False) -> Ratios | None:
    rows = _weights(simulation, number, inputs=inputs)
    return None if rows is None else rows.abs().amax(1).double().numpy()


def _lone(simulation: Simulation, number: int) -> tuple[int, ...]:
    """Output channels whose largest weight is far beyond their second largest."""
    rows = _weights(simulation, number)
    if rows is None or rows.shape[1] < 2:
        return ()
    first, second = rows.abs().topk(2, dim=1).values.double().unbind(1)
    ratio = (first / second.clamp(min=1e-30)).numpy()
    order = np.argsort(-ratio, kind="stable")
    return tuple(int(x) for x in order if ratio[x] >= 2)[:_MOST_CHANNELS]


def _activation_ranges(simulation: Simulation, number: int) -> tuple[Ratios, Flags] | None:
    """The widest magnitude of each channel in medians of its tensor, of the tensor of a layer
    where they are widest; and which channels of what the layer gives never change.

    What a clamp takes counts too: a channel that it holds at zero on these samples has its range
    all the same.
    """
    found: tuple[Ratios, Flags] | None = None
    last = quantized_nodes(simulation, number)[-1:]
    size = max((len(simulation.ranges[n].low) for n in last if n in simulation.ranges), default=0)
    for node in simulation.layers.nodes[number]:
        seen = simulation.ranges.get(node)
        if seen is None or is_move(node) or len(seen.low) != size or size < 2:
            continue
        ranges = seen.widest().double().numpy()
        alive = ranges[ranges > 0]
        ranges = ranges / (np.median(alive) if len(alive) else 1.0)
        dead = (seen.low == seen.high).numpy()
        found = (ranges if found is None else np.maximum(found[0], ranges)), dead
    return found


def _ratio(ranges: Ratios | None) -> float | None:
    """The widest to the median, of those that are not zero."""
    if ranges is None:
        return None
    alive = ranges[ranges > 0]
    return float(alive.max() / np.median(alive)) if len(alive) else None


def _far(
    ranges: Ratios | None,
) -> tuple[int, ...]:
    """Channels far out, widest first: beyond `_FAR` times the median, and nearer to the widest
    than to it."""
    if ranges is None or not (ranges > 0).any():
        return ()
    median, most = float(np.median(ranges[ranges > 0])), float(ranges.max())
    least = max(_FAR * median, float(np.sqrt(median * most)))
    order = np.argsort(-ranges, kind="stable")
    return tuple(int(x) for x in order if ranges[x] >= least)[:_MOST_CHANNELS]


def _by_error(one: Measured) -> tuple[int, ...]:
    """Channels by their error beside their own values, worst first."""
    if one.errors is None:
        return ()
    apart, whole = one.errors
    ratio = apart / np.maximum(whole, 1e-30)
    order = np.argsort(-np.where(whole > 0, ratio, 0.0), kind="stable")
    return tuple(int(x) for x in order if apart[x] > 0)[:_MOST_CHANNELS]
