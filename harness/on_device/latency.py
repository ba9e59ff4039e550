"""Latency: the statistics of one invocation's time, from raw samples.

The restart of the runner is the unit of replication: samples of one process share its memory
layout and its frequency, and vary less than a user will see.
"""

from collections.abc import Sequence

import numpy as np

from harness.device import Device
from harness.protocol import MachineState, Result
from harness.records import Latency

MAX_FREQUENCY_DROP = 0.10
MAX_TEMPERATURE_RISE_C = 15.0
_RESAMPLES = 2000
_SEED = 0
_VIRTUAL = "virtual board: emulated time, not a device's"


def latency_from(
    results: Sequence[Result], device: Device, *, throttled: str = ""
) -> Latency | None:
    """The statistics of all timed runs; None when nothing was timed.

    Percentiles are interpolated linearly. The bootstrap is seeded: the same samples give the
    same interval.

    Args:
        results: one for each restart of the runner.
        device: where they were measured.
        throttled: why the device did not have its full speed, by its own word, or "".
    """
    timed = [result for result in results if result.latency_ns]
    if not timed:
        return None
    samples = [np.asarray(result.latency_ns, dtype=np.float64) for result in timed]
    medians = np.array([np.median(one) for one in samples])
    pooled = np.concatenate(samples)
    # A virtual device shows its host's frequencies: they say nothing.
    cause = throttled or ("" if device.virtual else _throttling(timed))
    remark = "; ".join(filter(None, (_VIRTUAL if device.virtual else "", cause)))
    return Latency(
        warmup_ns=tuple(result.warmup_ns for result in timed),
        samples_ns=tuple(result.latency_ns for result in timed),
        median_ns=float(np.median(medians)),
        interval_ns=_bootstrap_interval(medians if len(timed) > 1 else samples[0]),
        p90_ns=float(np.percentile(pooled, 90)),
        p99_ns=float(np.percentile(pooled, 99)),
        representative=not remark,
        remark=remark,
    )


def _bootstrap_interval(x: np.typing.NDArray[np.float64]) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the median of `x`."""
    random = np.random.default_rng(_SEED)
    medians = [np.median(random.choice(x, len(x))) for _ in range(_RESAMPLES)]
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def _throttling(results: Sequence[Result]) -> str:
    """Why the device cannot have kept its speed, or "".

    Throttled means that within one restart the fastest core ended more than 10 % below the
    frequency it began with, or that any restart left a thermal zone more than 15 degrees above
    where the first one found it. What a device does not tell is not judged.
    """
    first = results[0].before
    for number, result in enumerate(results, 1):
        before, after = _fastest(result.before), _fastest(result.after)
        if 0 < after < before * (1 - MAX_FREQUENCY_DROP):
            return (
                f"throttled: the fastest core fell from {before / 1000:.0f} to "
                f"{after / 1000:.0f} MHz in restart {number}"
            )
        for zone, hot in result.after.temperatures_millidegree.items():
            cool = first.temperatures_millidegree.get(zone)
            if cool is not None and hot - cool > MAX_TEMPERATURE_RISE_C * 1000:
                return (
                    f"throttled: {zone} rose from {cool / 1000:.0f} to {hot / 1000:.0f} °C "
                    f"by restart {number}"
                )
    return ""


def _fastest(state: MachineState) -> int:
    """Frequency of the fastest core in kHz; 0 when the device does not tell."""
    return max(state.frequencies_khz, default=0)
