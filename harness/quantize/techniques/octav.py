"""Ranges at which clipping one value more costs what the finer step gains: the optimum of the mean
squared error, found by a recursion in place of a search."""

from typing import TYPE_CHECKING

from pydantic import Field

from harness.quantize.technique import Histogram, Options, Technique, static_only

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Octav(Options):
    """Attributes:
    rounds: of the recursion, at most; it ends when the ends stand still.
    """

    rounds: int = Field(default=100, ge=1, le=10_000)


def choose(histogram: Histogram, options: Octav) -> tuple[float, float]:
    """Where the error's slope is 0 in both ends: with p the share of values within, each end is
    (sum of those beyond + c * the other end) / (share beyond + c), c = p / (12 levels^2)."""
    import numpy as np

    x, share = histogram.centres(), histogram.counts / max(histogram.counts.sum(), 1)
    floor, ceiling = min(histogram.low, 0.0), max(histogram.high, 0.0)
    low, high = (_mean(x, share * side) for side in (x < 0, x > 0))
    for _ in range(options.rounds):
        above, below = x > high, x < low
        rounding = share[~above & ~below].sum() / (12 * histogram.levels**2)
        ends = []
        for beyond, other in ((below, high), (above, low)):
            weight = max(share[beyond].sum() + rounding, np.finfo(np.float64).tiny)
            ends.append((np.dot(share[beyond], x[beyond]) + rounding * other) / weight)
        new = (float(np.clip(ends[0], floor, 0.0)), float(np.clip(ends[1], 0.0, ceiling)))
        if np.allclose(new, (low, high), rtol=1e-6, atol=0):
            break
        low, high = new
    return low, high


def _mean(x: "npt.NDArray[np.float64]", share: "npt.NDArray[np.float64]") -> float:
    """Where the recursion begins; 0 where there is nothing on that side."""
    import numpy as np

    return float(np.dot(x, share) / share.sum()) if share.sum() else 0.0


TECHNIQUE = Technique(
    name="octav",
    stage="ranges",
    options=Octav,
    apply=choose,
    summary="ranges with the least mean squared error, by OCTAV's recursion",
    reference="Sakr et al. 2022, Optimal Clipping and Magnitude-aware Differentiation for Improved "
    "Quantization-aware Training",
    refuses=static_only,
)
