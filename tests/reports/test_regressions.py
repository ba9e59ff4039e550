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
    x[-1] += np.log1p(slowdown)
    return judge_latest(list(np.exp(x)))


@pytest.mark.parametrize("noise", [0.004, 0.012, 0.03])
def test_nothing_changed_is_seldom_an_alarm_and_a_slowdown_seldom_missed(noise: float) -> None:
    same = [judged(nights(noise, 21, seed)).verdict for seed in range(300)]
    slow = [judged(nights(noise, 21, seed), WANTED).verdict for seed in range(300)]
    assert sum(one in {"slower", "faster"} for one in same) <= 3
    assert sum(one in {"steady", "faster"} for one in slow) <= 15, "neither found nor told of"
    if noise == 0.004:
        assert slow.count("slower") >= 285
    if noise == 0.03:
        assert slow.count("underpowered") >= 200


def test_the_figures_are_those_of_the_t_test_for_one_further_observation() -> None:
    """By hand: mean ln 100, standard deviation 0.01, six nights; t of 5 degrees of freedom."""
    spread = 0.01 * np.sqrt(5 / 6)
    before = np.log(100) + spread * np.array([1, -1, 1, -1, 1, -1])
    found = judge_latest([*np.exp(before), 100 * np.exp(0.12)])
    assert found.nights == 6
    assert found.expected_ns == pytest.approx(100)
    assert found.ratio == pytest.approx(np.expm1(0.12))
    t, error = stats.t(5), 0.01 * np.sqrt(7 / 6)
    assert found.p == pytest.approx(2 * t.sf(0.12 / error))
    assert found.p < LEVEL
    assert found.detectable == pytest.approx(np.expm1((t.isf(LEVEL / 2) + t.isf(0.05)) * error))
    assert found.verdict == "slower"
    close = judge_latest([*np.exp(before), 100 * np.exp(0.06)])
    assert LEVEL < close.p < 0.005
    assert close.verdict == "underpowered"


def test_a_small_change_is_not_told_however_sure() -> None:
    found = judged(nights(0.0005, 30, 1), 0.02)
    assert found.p < 1e-6
    assert found.verdict == "steady"


def test_faster_is_told_too() -> None:
    assert judged(nights(0.004, 30, 1), -0.06).verdict == "faster"


@pytest.mark.parametrize("count", range(1, MIN_NIGHTS + 1))
def test_few_nights_have_no_power(count: int) -> None:
    found = judged(nights(0.001, count, 1), 0.5)
    assert found.verdict == "underpowered"
    assert found.nights == count - 1
    assert f"a verdict needs {MIN_NIGHTS}" in words.latency_change(found)


def test_nights_without_any_noise() -> None:
    assert judge_latest([100.0] * 20).verdict == "steady"
    assert judge_latest([100.0] * 8 + [104.0]).verdict == "slower"


def test_after_a_change_only_what_follows_counts() -> None:
    x = np.concatenate([nights(0.005, 12, 1), nights(0.005, 10, 2) + np.log(1.1)])
    assert len(since_last_change(x)) == 10
    assert judge_latest(list(np.exp(x))).verdict == "steady", "slower than long ago is no news"
    back = judge_latest([*np.exp(x), NIGHT_NS])
    assert (back.verdict, back.nights) == ("faster", 10)


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
        ("n08", "steady", 7), ("n08", "steady", 7),
    ]  # fmt: skip
    (alarm,) = latest_changes([*a, night(9, slow)])
    assert (alarm.run, alarm.change.verdict) == ("n09", "slower")
    assert "slower: +20.0%" in words.latency_change(alarm.change)
    assert "slower: +20.0%" in render([*a, night(9, slow)])
    assert "Night by night" not in render(a[:1])
