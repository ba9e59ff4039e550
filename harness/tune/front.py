"""Which of the trials to take."""

import math
from collections.abc import Sequence

from harness.tune.budget import Budget
from harness.tune.records import Metrics, Trial

_AS_FAST = 1.15
"""Latencies this near are the same: the next run may turn them round."""


def pareto(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that no other beats: at least as good in fidelity, size and latency, better in one."""
    return tuple(one for one in trials if not any(_beats(other, one) for other in trials))


def best(trials: Sequence[Trial], budget: Budget, plain: Trial | None) -> Trial | None:
    """The recipe to take: within the budget, and among those about as fast as the fastest the one
    nearest to float; the smaller of two that are alike. Outside the budget, the nearest to it.

    Args:
        plain: the recipe that anybody would take; what is recommended is at least as near to float
            where the plain one itself is within the budget.
    """
    if not trials:
        return None
    within = [one for one in trials if one.metrics.within(budget)]
    if not within:
        return min(trials, key=lambda one: (_excess(one.metrics, budget), -_fidelity(one)))
    if plain is not None and plain in within:
        within = [one for one in within if _fidelity(one) >= _fidelity(plain)]
    fastest = min(_latency(one) for one in within)
    fast = [one for one in within if _latency(one) <= fastest * _AS_FAST]
    return max(fast, key=lambda one: (one.metrics.score, _fidelity(one), -one.metrics.bytes))


def _beats(one: Trial, other: Trial) -> bool:
    of_one, of_other = (
        (x.metrics.score, _fidelity(x), -x.metrics.bytes, -_latency(x)) for x in (one, other)
    )
    as_good = all(a >= b for a, b in zip(of_one, of_other, strict=True))
    return as_good and of_one != of_other


def _fidelity(trial: Trial) -> float:
    return trial.metrics.sqnr_db


def _latency(trial: Trial) -> float:
    known = trial.metrics.latency_ms
    return math.inf if known is None else known


def _excess(metrics: Metrics, budget: Budget) -> float:
    """How far beyond the budget, in multiples of it, all limits together."""
    latency = metrics.latency_ms or 0.0
    beyond = (
        (metrics.drop - budget.drop) / max(budget.drop, 0.01),
        metrics.bytes / budget.size - 1,
        latency / budget.latency - 1,
    )
    return sum(max(0.0, x) for x in beyond)
