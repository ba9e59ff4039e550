"""Ranges that leave out the rarest values, so that an outlier does not take the resolution."""

from pydantic import Field, model_validator

from harness.quantize.technique import Histogram, Options, Technique, static_only


class Percentile(Options):
    """Attributes:
    lower, upper: percentiles of the values that the range begins and ends with.
    """

    lower: float = Field(default=0.01, ge=0, lt=100)
    upper: float = Field(default=99.99, gt=0, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> "Percentile":
        if self.lower >= self.upper:
            raise ValueError("lower must be less than upper")
        return self


def choose(histogram: Histogram, options: Percentile) -> tuple[float, float]:
    """The bins that hold the percentiles; 0 and 100 are the least and the greatest value."""
    import numpy as np

    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    low = edges[int(np.searchsorted(share, options.lower / 100, side="right"))]
    high = edges[int(np.searchsorted(share, options.upper / 100, side="left")) + 1]
    return (
        histogram.low if options.lower == 0 else float(low),
        histogram.high if options.upper == 100 else float(high),
    )


TECHNIQUE = Technique(
    name="percentile",
    stage="ranges",
    options=Percentile,
    apply=choose,
    summary="ranges without the rarest values of each activation",
    reference="Wu et al. 2020, Integer Quantization for Deep Learning Inference, section 3.3",
    refuses=static_only,
    helps=(
        "Where rare outliers take the resolution of an activation. Too low a percentile clips "
        "what matters: a run says when it does."
    ),
)
