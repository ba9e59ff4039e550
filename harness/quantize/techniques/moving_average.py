"""Ranges as the moving average of what each calibration sample spans: no single one decides."""

from pydantic import Field

from harness.quantize.technique import Histogram, Options, Technique, static_only


class MovingAverage(Options):
    """Attributes:
    keep: share of the average that stays when the next sample comes.
    """

    keep: float = Field(default=0.9, ge=0.0, lt=1.0)


def choose(histogram: Histogram, options: MovingAverage) -> tuple[float, float]:
    """In the order of the samples, beginning with the span of the first."""
    spans = histogram.spans
    low, high = spans[0] if spans else (histogram.low, histogram.high)
    for least, greatest in spans[1:]:
        low = options.keep * low + (1 - options.keep) * least
        high = options.keep * high + (1 - options.keep) * greatest
    return low, high


TECHNIQUE = Technique(
    name="moving_average",
    stage="ranges",
    options=MovingAverage,
    apply=choose,
    summary="ranges as the moving average of what each sample spans",
    reference="Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient "
    "Integer-Arithmetic-Only Inference, section 3.1",
    refuses=static_only,
)
