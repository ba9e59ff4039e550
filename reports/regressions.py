"""Regressions: whether a model's latest latency on a device is off what its nights before were.

One number stands for a night: the logarithm of the median over the runner's restarts, so that a
difference is a ratio. Nights differ by more than the samples within one do, so the unit is the
night: the latest two are each held against the nights since the last change point, by the t-test
for one further observation. Both must be off, the same way: a night on which the machine was busy
with something else is no regression, and there are many more of these than of a normal noise.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.host.extras import require_extra
from harness.host.wording import told_apart
from harness.records import Run

LEVEL = 0.01
"""Of the test of each night, two-sided."""
MIN_CHANGE = 0.03
"""A smaller change is not told, however sure."""
WANTED = 0.05
"""A slowdown that must be found with a chance of `POWER`, or the night is "underpowered"."""
POWER = 0.95
WINDOW = 30
"""So many nights before the latest two are looked at."""
NIGHTS = WINDOW + 2
"""So many are looked at in all."""
MIN_NIGHTS = 5
"""Fewer tell nothing about a device's noise."""
_SPLIT_LEVEL = 0.001

Verdict = Literal["slower", "faster", "suspect", "steady", "underpowered"]


@dataclass(frozen=True)
class Change:
    """The latest night against those before it.

    Attributes:
        verdict: "suspect": only the latest night is off; the next one will tell. "underpowered":
            nothing is seen, but a slowdown of `WANTED` might well be missed.
        nights: that it was held against: those since the last change point, without the latest two.
        expected_ns: their geometric mean.
        latest_ns: the night's.
        p: chance of a difference so large, either way, if nothing changed; 1 without a test.
        detectable: the smallest slowdown, as a share, that two nights of it show with a chance of
            `POWER`; infinite below `MIN_NIGHTS`.
    """

    verdict: Verdict
    nights: int
    expected_ns: float
    latest_ns: float
    p: float
    detectable: float

    @property
    def underpowered(self) -> bool:
        """Whether a slowdown of `WANTED` might well be missed."""
        return self.detectable > WANTED

    @property
    def ratio(self) -> float:
        """How much slower the night was, as a share: 0.05 is 5 %; negative is faster."""
        return self.latest_ns / self.expected_ns - 1


def judge_latest(nights_ns: Sequence[float]) -> Change:
    """Judge the last of a series of nightly medians.

    Args:
        nights_ns: oldest first, at least one; all above 0.
    """
    x = np.log(np.asarray(nights_ns[-NIGHTS:], dtype=np.float64))
    before, latest = since_last_change(x[:-2]), x[-2:]
    expected = float(np.mean(before if len(before) else x))
    changes = latest - expected
    p, detectable = _test(before, changes)
    off = (p < LEVEL) & ((changes >= math.log1p(MIN_CHANGE)) | (changes <= math.log1p(-MIN_CHANGE)))
    verdict: Verdict = "steady" if detectable <= WANTED else "underpowered"
    if off.all() and changes[0] * changes[-1] > 0:
        verdict = "slower" if changes[-1] > 0 else "faster"
    elif off[-1]:
        verdict = "suspect"
    told = math.exp(expected), math.exp(float(x[-1]))
    return Change(verdict, len(before), *told, float(p[-1]), detectable)


def _test(
    before: NDArray[np.float64], changes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """p of each change of one further observation, and the smallest slowdown to be found."""
    n = len(before)
    if n < MIN_NIGHTS:
        return np.ones(len(changes)), math.inf
    require_extra("trends", "scipy")
    from scipy import special

    error = float(np.std(before, ddof=1)) * math.sqrt(1 + 1 / n)
    if error == 0:
        return (changes == 0).astype(np.float64), MIN_CHANGE
    quantile = partial(special.stdtrit, n - 1)
    least = max(float(quantile(1 - LEVEL / 2)) * error, math.log1p(MIN_CHANGE))
    detectable = math.expm1(least + float(quantile(math.sqrt(POWER))) * error)
    return 2 * special.stdtr(n - 1, -np.abs(changes) / error), detectable


def since_last_change(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What comes after the last change point of a series of logarithms.

    The series is split where Welch's t-test between both sides is most sure, if it is sure enough
    for as many tests as there are places, and the change is one that is told; then again what
    follows. Each side has at least `MIN_NIGHTS`.
    """
    places = np.arange(MIN_NIGHTS, len(x) - MIN_NIGHTS + 1)
    if not len(places):
        return x
    require_extra("trends", "scipy")
    from scipy import stats

    sides = [[(part.mean(), part.std(ddof=1)) for part in (x[:at], x[at:])] for at in places]
    (left, left_sd), (right, right_sd) = np.moveaxis(np.asarray(sides), 0, -1)
    p = stats.ttest_ind_from_stats(
        left, left_sd, places, right, right_sd, len(x) - places, equal_var=False
    ).pvalue
    p = np.nan_to_num(p, nan=1.0)  # no noise on either side
    best = int(np.argmin(p))
    told = abs(left[best] - right[best]) >= math.log1p(MIN_CHANGE)
    if not told or p[best] >= _SPLIT_LEVEL / len(places):
        return x
    at = int(places[best])
    return since_last_change(x[at:])


@dataclass(frozen=True)
class Series:
    """One model and recipe on one device of a target, night by night.

    Attributes:
        model, recipe, target, device: what the runs have in common; `recipe` is the name, with the
            digest's beginning where recipes of that name differ.
        run: id of the latest run.
        change: the latest against those before.
    """

    model: str
    recipe: str
    target: str
    device: str
    run: str
    change: Change


def latest_changes(runs: Iterable[Run]) -> list[Series]:
    """Judge the latest run of everything that was timed more than once, in the order of the ids.

    Runs whose latency is not representative (a virtual board, a throttled device) are left out:
    their time is not the device's. Recipes of one name are told apart by their digests; runs of
    before digests were kept are a series of their own.
    """
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda one: (one.created, one.id)):
        if run.latency is not None and run.latency.representative and run.latency.median_ns > 0:
            kernels = run.results[0].kernels if run.results else None
            how = f"{kernels} {run.threads}"
            recipe = (run.recipe, run.recipe_digest)
            key = (run.model, *recipe, run.target, run.device.name, how)
            found.setdefault(key, []).append(run)
    names = told_apart(
        (run.recipe, run.recipe_digest) for series in found.values() for run in series
    )
    return [_judged(series, names) for series in found.values() if len(series) > 1]


def _judged(runs: Sequence[Run], names: Mapping[tuple[str, str], str]) -> Series:
    last = runs[-1]
    recipe = names[last.recipe, last.recipe_digest]
    change = judge_latest([run.latency.median_ns for run in runs if run.latency is not None])
    return Series(last.model, recipe, last.target, last.device.name, last.id, change)
