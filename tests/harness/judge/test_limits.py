"""limits.toml and the judgement."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.judge.accuracy import wilson
from harness.judge.limits import Judgement, Limits, judge, load_limits
from harness.records import (
    Accuracy,
    Exactness,
    Latency,
    Outcome,
    QuantizationCost,
    TensorComparison,
    TensorCost,
    Verdict,
)

ACCURACY = Accuracy(100, wilson(80, 100), wilson(95, 100), wilson(82, 100), wilson(97, 100))
LATENCY = Latency(((),), ((5_000_000,),), 5e6, (4e6, 6e6), 8e6, 9e6, True)
VIRTUAL = replace(LATENCY, representative=False, remark="virtual board: emulated time")
COST = QuantizationCost("float", (TensorCost("a", float("inf"), 1.0), TensorCost("b", 18.0, 0.98)))


def exactness(verdict: Verdict = "exact", differing: int | None = 0) -> Exactness:
    output = TensorComparison("out", "exact", 10, differing, remark="" if differing == 0 else "why")
    return Exactness("p", verdict, (output,), reason="" if verdict == "exact" else "the reason")


def judged(limits: dict[str, Any], **parts: Any) -> Judgement:
    run = {"exactness": exactness(), "cost": COST, "accuracy": ACCURACY, "latency": LATENCY}
    return judge(Limits.model_validate(limits), **(run | parts))


def test_every_limit_that_holds_passes() -> None:
    assert judged(
        {
            "exactness": {"require": "exact"},
            "accuracy": {
                "min_top1": 0.8,
                "min_top5": 0.95,
                "min_agreement": 0.97,
                "max_drop_vs_float": 0.02,
            },
            "latency": {"max_median_ms": 5.0, "max_p90_ms": 8.0, "max_p99_ms": 9.0},
            "cost": {"min_sqnr_db": 18.0, "min_cosine": 0.98},
        }
    ) == Judgement(Outcome.PASS)


@pytest.mark.parametrize(
    ("table", "key", "limit", "reason"),
    [
        ("accuracy", "min_top1", 0.81, "accuracy.min_top1 = 0.81, got 80.00%"),
        ("accuracy", "min_top5", 0.96, "accuracy.min_top5 = 0.96, got 95.00%"),
        ("accuracy", "min_agreement", 0.98, "accuracy.min_agreement = 0.98, got 97.00%"),
        ("accuracy", "max_drop_vs_float", 0.01, "accuracy.max_drop_vs_float = 0.01, got 0.0200"),
        ("latency", "max_median_ms", 4.9, "latency.max_median_ms = 4.9, got 5.000 ms"),
        ("latency", "max_p90_ms", 7.9, "latency.max_p90_ms = 7.9, got 8.000 ms"),
        ("latency", "max_p99_ms", 8.9, "latency.max_p99_ms = 8.9, got 9.000 ms"),
        ("cost", "min_sqnr_db", 18.5, "cost.min_sqnr_db = 18.5, got 18 dB on 'b'"),
        ("cost", "min_cosine", 0.99, "cost.min_cosine = 0.99, got 0.98 on 'b'"),
    ],
)
def test_a_broken_limit_fails_and_one_that_cannot_be_evaluated_too(
    table: str, key: str, limit: float, reason: str
) -> None:
    found = judged({table: {key: limit}})
    assert found.outcome is Outcome.FAIL
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith(reason)

    missing = judged({table: {key: limit}}, **{table: None})
    assert missing.outcome is Outcome.FAIL
    assert missing.reasons[0].startswith(f"{table}.{key} = {limit} cannot be evaluated: it needs ")


def test_without_limits_only_a_broken_promise_fails() -> None:
    for verdict in ("exact", "assumed", "float", "unknown"):
        assert judged({}, exactness=exactness(verdict)).outcome is Outcome.PASS
    assert judged({}, exactness=exactness("differs", 3)) == Judgement(
        Outcome.FAIL, ("the device is not what the emulator expects: the reason",)
    )
    nothing = {"exactness": None, "cost": None, "accuracy": None, "latency": None}
    assert judged({}, **nothing).outcome is Outcome.PASS


def test_a_drop_of_exactly_the_limit_holds() -> None:
    two_percent = Accuracy(50, wilson(13, 50), None, wilson(14, 50))
    assert 14 / 50 - 13 / 50 > 0.02
    limits = {"accuracy": {"max_drop_vs_float": 0.02}}
    assert judged(limits, accuracy=two_percent).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("require", "verdict", "differing", "outcome"),
    [
        ("exact", "exact", 0, Outcome.PASS),
        ("exact", "assumed", 0, Outcome.FAIL),
        ("exact", "unknown", None, Outcome.FAIL),
        ("no-difference", "assumed", 0, Outcome.PASS),
        ("no-difference", "assumed", 2, Outcome.FAIL),
        ("no-difference", "float", 0, Outcome.PASS),
        ("no-difference", "unknown", None, Outcome.FAIL),
    ],
)
def test_required_exactness(
    require: str, verdict: Verdict, differing: int | None, outcome: Outcome
) -> None:
    found = judged({"exactness": {"require": require}}, exactness=exactness(verdict, differing))
    assert found.outcome is outcome
    assert len(found.reasons) == (outcome is Outcome.FAIL)


@pytest.mark.parametrize("missing", [None, Exactness(None, "unknown", reason="no profile")])
def test_required_exactness_without_a_comparison_fails(missing: Exactness | None) -> None:
    found = judged({"exactness": {"require": "no-difference"}}, exactness=missing)
    assert found.outcome is Outcome.FAIL
    assert "cannot be evaluated" in found.reasons[0]


def test_time_on_a_virtual_board_is_judged_only_on_request() -> None:
    strict = judged({"latency": {"max_median_ms": 100.0}}, latency=VIRTUAL)
    assert strict.outcome is Outcome.FAIL
    assert "was not judged: virtual board" in strict.reasons[0]
    assert 'latency.not_representative to "skip" or "judge"' in strict.reasons[0]

    skip = {"max_median_ms": 1.0, "not_representative": "skip"}
    skipped = judged({"latency": skip}, latency=VIRTUAL)
    assert (skipped.outcome, skipped.reasons) == (Outcome.PASS, ())
    assert "latency.max_median_ms = 1.0 was not judged" in skipped.notes[0]

    for limit, outcome in ((100.0, Outcome.PASS), (1.0, Outcome.FAIL)):
        judge_it = {"max_median_ms": limit, "not_representative": "judge"}
        assert judged({"latency": judge_it}, latency=VIRTUAL).outcome is outcome


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('[exactness]\nrequire = "exact"\n[accuracy]\nmin_top1 = 1\n')
    limits = load_limits(path)
    assert limits.exactness.require == "exact"
    assert limits.accuracy.min_top1 == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[accuracy]\nmin_top1 = 70\n", "line 2: accuracy.min_top1: .*less than or equal to 1"),
        ('[accuracy]\n\nmin_top1 = "0.7"\n', "line 3: accuracy.min_top1: .*valid number"),
        ("[latency]\n# x\nmax_ms = 5\n", "line 3: latency.max_ms: no such key; one of: max_med"),
        ("[speed]\nx = 1\n", "line 1: speed: no such key; one of: exactness, accuracy"),
        ("accuracy.min_top1 = 2\n", "line 1: accuracy.min_top1"),
        ('[exactness]\nrequire = "maybe"\n', "line 2: exactness.require: .*'exact' or 'no-"),
        ("[latency]\nmax_median_ms = nan\n", "line 2: latency.max_median_ms: .*finite"),
        ("accuracy = 5\n", "line 1: accuracy: "),
        ("[accuracy\n", "not TOML: .*line 1"),
        ("\x00", "not TOML"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_limits(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_limits(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not TOML"):
        load_limits(tmp_path / "binary.toml")
