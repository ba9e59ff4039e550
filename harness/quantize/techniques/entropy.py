"""Ranges that keep the distribution of an activation: the least Kullback-Leibler divergence."""

from typing import TYPE_CHECKING

from pydantic import Field

from harness.quantize.technique import Histogram, Options, Technique, static_only
from harness.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BINS = 4096
"""Of the distribution that is held against its quantized form: many for each integer."""


class Entropy(Options):
    """Attributes:
    candidates: how many ranges are tried, from the whole one downwards.
    """

    candidates: int = Field(default=100, ge=2, le=1000)


def choose(histogram: Histogram, options: Entropy) -> tuple[float, float]:
    """One end after the other is moved towards 0; the range always holds 0."""
    import numpy as np

    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    total = np.append(0.0, np.cumsum(_without_spikes(histogram)))
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    factors = np.linspace(1.0, 1.0 / options.candidates, options.candidates)

    def divergence(span: tuple[float, float]) -> float:
        inside = np.diff(np.interp(np.linspace(*span, _BINS + 1), edges, total))
        beyond = (np.interp(span[0], edges, total), total[-1] - np.interp(span[1], edges, total))
        return _divergence(inside, beyond, histogram.levels + 1)

    if high > 0:
        high = min((high * float(x) for x in factors), key=lambda x: divergence((low, x)))
    if low < 0:
        low = min((low * float(x) for x in factors), key=lambda x: divergence((x, high)))
    return low, high


def _without_spikes(histogram: Histogram) -> "npt.NDArray[np.float64]":
    """The counts with as many at 0 and at both ends as beside them: what a rectification or a clamp
    gathers there is one value, which an integer stands for exactly."""
    import numpy as np

    counts = histogram.counts.astype(np.float64)
    last = len(counts) - 1
    width = (histogram.high - histogram.low) / len(counts)
    at_zero = int(np.clip(-histogram.low / width, 0, last)) if width > 0 else 0
    for place in {0, at_zero, last}:
        beside = [counts[one] for one in (place - 1, place + 1) if 0 <= one <= last]
        counts[place] = min(counts[place], max(beside, default=0.0))
    return counts


def _divergence(
    inside: "npt.NDArray[np.float64]", beyond: tuple[float, float], integers: int
) -> float:
    """Of the clipped distribution from that of the integers, each spread over the bins it stands
    for that hold values. What is clipped counts in the first only."""
    import numpy as np

    if inside.sum() <= 0:
        return np.inf
    clipped = inside.copy()
    clipped[0] += beyond[0]
    clipped[-1] += beyond[1]
    place = np.arange(len(inside)) * integers // len(inside)
    held = inside > 0
    sums = np.bincount(place, inside, integers)
    bins = np.maximum(np.bincount(place, held, integers), 1)
    spread = np.where(held, (sums / bins)[place], 0.0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    taken = p > 0
    return float(np.sum(p[taken] * np.log(p[taken] / np.maximum(q[taken], 1e-12))))


def _refuses(recipe: Recipe, runtime: str) -> str:
    if recipe.activation_bits == 16:
        return "the distribution has fewer bins than 16-bit activations have integers; use octav"
    return static_only(recipe, runtime)


TECHNIQUE = Technique(
    name="entropy",
    stage="ranges",
    options=Entropy,
    apply=choose,
    summary="ranges that keep each activation's distribution (Kullback-Leibler)",
    reference="Migacz 2017, 8-bit Inference with TensorRT",
    refuses=_refuses,
)
