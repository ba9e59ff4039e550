"""Histograms of activations, and the ranges that a recipe's step chooses by them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError
from harness.quantize.technique import Histogram
from harness.quantize.techniques import staged
from harness.recipe import Recipe

BINS = 1 << 15
"""A bin is small beside a step of int8, even with an outlier of a hundredfold."""

Choose = Callable[[Histogram], tuple[float, float]]


def chooser(recipe: Recipe) -> Choose | None:
    """How the recipe chooses ranges; None for the least and the greatest value."""
    for step, technique, options in staged(recipe, "ranges"):

        def choose(histogram: Histogram) -> tuple[float, float]:
            low, high = technique.apply(histogram, options)  # noqa: B023  returned at once
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ModelError(f"step {step} chose the range {low} to {high}")  # noqa: B023
            return max(low, histogram.low), min(high, histogram.high)

        return choose
    return None


def counted(x: npt.NDArray[np.floating], low: float, high: float) -> npt.NDArray[np.int64]:
    """How many values lie in each bin; what is outside lies in none."""
    return np.histogram(x, bins=BINS, range=(low, high))[0]


def worth_choosing(low: float, high: float) -> bool:
    """Whether a span is one: finite, and wider than nothing."""
    return bool(np.isfinite([low, high]).all() and high - low > np.finfo(np.float32).tiny)
