"""Ranges with the least mean squared error of rounding and clipping together."""

from pydantic import Field

from harness.quantize.technique import Histogram, Options, Technique, static_only


class LeastError(Options):
    """Attributes:
    candidates: how many ranges are tried, from the whole one downwards.
    """

    candidates: int = Field(default=100, ge=2, le=1000)


def choose(histogram: Histogram, options: LeastError) -> tuple[float, float]:
    """Both ends shrink by the same factor; the range always holds 0."""
    import numpy as np

    x = histogram.centres()
    held = histogram.counts > 0
    x, counts = x[held], histogram.counts[held]
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    best, chosen = np.inf, (histogram.low, histogram.high)
    for factor in np.linspace(1.0, 1.0 / options.candidates, options.candidates):
        scale = (high - low) * factor / histogram.levels
        if scale <= 0:
            break
        zero = np.rint(-low * factor / scale)
        codes = np.clip(np.rint(x / scale) + zero, 0, histogram.levels)
        error = float(np.dot(counts, (x - (codes - zero) * scale) ** 2))
        if error < best:
            best, chosen = error, (low * float(factor), high * float(factor))
    return chosen


TECHNIQUE = Technique(
    name="mse",
    stage="ranges",
    options=LeastError,
    apply=choose,
    summary="ranges with the least mean squared error of each activation",
    reference="Nagel et al. 2021, A White Paper on Neural Network Quantization, section 3.1",
    refuses=static_only,
    helps=(
        "Where activations have long tails: small values gain resolution, the largest are "
        "clipped. Outputs whose largest value matters may lose by it."
    ),
)
