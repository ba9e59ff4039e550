"""Which trials to take."""

import math

from harness.tune.budget import Budget
from harness.tune.front import best, pareto
from harness.tune.records import Metrics, Trial


def trial(
    recipe: str, sqnr: float, size: int = 100, ms: float | None = 1.0, drop: float = 0.0
) -> Trial:
    return Trial(
        recipe, "", Metrics(1 - drop, "agreement", drop, None, 0.99, sqnr, size, latency_ms=ms)
    )


PLAIN = trial("plain", 20)


def test_the_front_holds_what_nothing_beats_in_everything() -> None:
    better, smaller, slower = trial("better", 30), trial("small", 10, 50), trial("slow", 25, ms=9)
    assert pareto([PLAIN, better, smaller, slower]) == (better, smaller)
    assert pareto([PLAIN, trial("same", 20)]) == (PLAIN, trial("same", 20))


def test_of_those_as_fast_the_nearest_to_float_is_taken() -> None:
    nearer, slow = trial("nearer", 25, ms=1.1), trial("slow", 60, ms=2.0)
    assert best([PLAIN, nearer, slow], Budget(), PLAIN) == nearer


def test_nothing_worse_than_the_plain_recipe_is_taken() -> None:
    quick = trial("quick", 15, ms=0.1)
    assert best([PLAIN, quick], Budget(), PLAIN) == PLAIN
    over = trial("plain", 20, drop=0.5)
    assert best([over, quick], Budget(), over) == quick


def test_a_size_leaves_out_what_is_larger() -> None:
    small = trial("small", 15, 50)
    assert best([PLAIN, small], Budget(size=60), PLAIN) == small


def test_outside_the_budget_the_nearest_to_it_is_taken() -> None:
    bad, worse = trial("bad", 5, drop=0.05), trial("worse", 3, drop=0.3)
    assert best([worse, bad], Budget(), None) == bad
    assert not bad.metrics.within(Budget())
    assert best([], Budget(), None) is None


def test_a_time_that_nobody_measured_breaks_no_limit() -> None:
    unknown = trial("unknown", 20, ms=None)
    assert unknown.metrics.within(Budget(latency=1.0))
    assert not trial("slow", 20, ms=2.0).metrics.within(Budget(latency=1.0))
    assert best([unknown], Budget(math.inf), None) == unknown
