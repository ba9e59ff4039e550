"""Regressions: false alarms, what is found, what is called underpowered, and change points."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.records import Latency, Run
from reports import words
from reports.html import render
from reports.regressions import (
    LEVEL,
    MIN_NIGHTS,
    POWER,
    WANTED,
    Change,
    judge_latest,
    latest_changes,
    since_last_change,
)

NIGHT_NS = 5e6


def nights(noise: float, count: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(np.log(NIGHT_NS), noise, count)


def judged(x: NDArray[np.float64], slowdown: float = 0.0) -> Change:
    x = x.copy()
    x[-2:] += np.log1p(slowdown)
    return judge_latest(list(np.exp(x)))


@pytest.mark.parametrize("noise", [0.004, 0.012, 0.03])
def test_nothing_changed_is_seldom_an_alarm_and_a_slowdown_seldom_missed(noise: float) -> None:
    same = [judged(nights(noise, 22, seed)) for seed in range(300)]
    slow = [judged(nights(noise, 22, seed), WANTED) for seed in range(300)]
    assert sum(one.verdict in {"slower", "faster"} for one in same) <= 3
    assert sum(one.verdict != "slower" and not one.underpowered for one in slow) <= 15
    if noise == 0.004:
        assert sum(one.verdict == "slower" for one in slow) >= 285
    if noise == 0.03:
        assert sum(one.underpowered for one in slow) >= 285


def test_the_figures_are_those_of_the_t_test_for_one_further_observation() -> None:
    """By hand: mean ln 100, standard deviation 0.01, six nights; t of 5 degrees of freedom."""
    spread = 0.01 * np.sqrt(5 / 6)
    before = np.log(100) + spread * np.array([1, -1, 1, -1, 1, -1])
    found = judge_latest([*np.exp(before), 100 * np.exp(0.06), 100 * np.exp(0.05)])
    assert found.nights == 6
    assert found.expected_ns == pytest.approx(100)
    assert found.ratio == pytest.approx(np.expm1(0.05))
    t, error = stats.t(5), 0.01 * np.sqrt(7 / 6)
    assert found.p == pytest.approx(2 * t.sf(0.05 / error))
    assert found.p < LEVEL
    each = t.isf(LEVEL / 2) + t.ppf(np.sqrt(POWER))
    assert found.detectable == pytest.approx(np.expm1(each * error))
    assert found.verdict == "slower"
    close = judge_latest([*np.exp(before), 100 * np.exp(0.04), 100 * np.exp(0.05)])
    assert close.verdict == "suspect", "the first of the two may be chance"


def test_one_night_alone_is_suspect_and_the_next_one_tells() -> None:
    x = list(np.exp(nights(0.005, 20, 1)))
    off = judge_latest([*x, NIGHT_NS * 1.1])
    assert off.verdict == "suspect"
    assert "another such night confirms it" in words.latency_change(off)
    assert judge_latest([*x, NIGHT_NS * 1.1, NIGHT_NS * 1.1]).verdict == "slower"
    assert judge_latest([*x, NIGHT_NS * 1.1, NIGHT_NS]).verdict == "steady"
    assert judge_latest([*x, NIGHT_NS * 0.9, NIGHT_NS * 1.1]).verdict == "suspect"


def test_a_small_change_is_not_told_however_sure() -> None:
    found = judged(nights(0.0005, 30, 1), 0.02)
    assert found.p < 1e-6
    assert found.verdict == "steady"


def test_faster_is_told_too() -> None:
    assert judged(nights(0.004, 30, 1), -0.06).verdict == "faster"


@pytest.mark.parametrize("count", range(1, MIN_NIGHTS + 2))
def test_few_nights_have_no_power(count: int) -> None:
    found = judged(nights(0.001, count, 1), 0.5)
    assert found.verdict == "underpowered"
    assert found.nights == max(count - 2, 0)
    assert f"a verdict needs {MIN_NIGHTS}" in words.latency_change(found)


def test_nights_without_any_noise() -> None:
    assert judge_latest([100.0] * 20).verdict == "steady"
    assert judge_latest([100.0] * 8 + [104.0] * 2).verdict == "slower"


def test_after_a_change_only_what_follows_counts() -> None:
    x = np.concatenate([nights(0.005, 12, 1), nights(0.005, 12, 2) + np.log(1.1)])
    assert len(since_last_change(x)) == 12
    assert judge_latest(list(np.exp(x))).verdict == "steady", "slower than long ago is no news"
    back = judge_latest([*np.exp(x), NIGHT_NS, NIGHT_NS])
    assert (back.verdict, back.nights) == ("faster", 12)


def test_noise_alone_has_no_change_points() -> None:
    assert sum(len(since_last_change(nights(0.01, 30, seed))) < 30 for seed in range(200)) <= 2


def test_series_are_by_model_device_kernels_and_threads(passing: Run) -> None:
    run = passing
    assert run.latency is not None
    own = replace(run.latency, representative=True, remark="")

    def night(number: int, latency: Latency, **fields: object) -> Run:
        made = replace(run, id=f"n{number:02}", created=f"2026-11-{number:02}T02:00:00Z")
        return replace(made, latency=latency, **fields)  # type: ignore[arg-type]  # fields of Run

    slow = replace(own, median_ns=own.median_ns * 1.2)
    a = [night(number, own) for number in range(1, 9)]
    b = [night(number, slow, threads=4) for number in range(1, 9)]
    virtual = night(9, replace(slow, representative=False))
    found = latest_changes([*reversed(a), *b, virtual])
    assert [(one.run, one.change.verdict, one.change.nights) for one in found] == [
        ("n08", "steady", 6), ("n08", "steady", 6),
    ]  # fmt: skip
    slowed = [*a, night(9, slow), night(10, slow)]
    (alarm,) = latest_changes(slowed)
    assert (alarm.run, alarm.change.verdict) == ("n10", "slower")
    assert "slower: +20.0%" in words.latency_change(alarm.change)
    assert "slower: +20.0%" in render(slowed)
    assert "Night by night" not in render(a[:1])


def test_recipes_that_share_a_name_but_differ_are_never_one_series(passing: Run) -> None:
    """Nor is an old run, of which nobody knows the recipe, the same as either."""
    assert passing.latency is not None
    own = replace(passing.latency, representative=True, remark="")

    def nights_of(digest: str, factor: float, first: int) -> list[Run]:
        latency = replace(own, median_ns=own.median_ns * factor)
        return [
            replace(
                passing,
                id=f"n{number:02}",
                created=f"2026-11-{number:02}T02:00:00Z",
                recipe="mine",
                recipe_digest=digest,
                latency=latency,
            )
            for number in range(first, first + 8)
        ]

    runs = [*nights_of("", 0.5, 1), *nights_of("a" * 64, 1, 9), *nights_of("b" * 64, 2, 17)]
    found = latest_changes(runs)
    assert [(one.recipe, one.run, one.change.verdict) for one in found] == [
        ("mine (digest unknown)", "n08", "steady"),
        ("mine (digest aaaaaaaa)", "n16", "steady"),
        ("mine (digest bbbbbbbb)", "n24", "steady"),
    ]
    page = render(runs)
    assert "mine (digest aaaaaaaa)" in page
    assert "b" * 64 in page, "the digest stands in the provenance"
    alone = latest_changes(nights_of("a" * 64, 1, 1))
    assert [one.recipe for one in alone] == ["mine"], "the name alone where it is enough"
