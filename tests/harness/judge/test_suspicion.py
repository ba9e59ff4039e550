"""What looks wrong without any limit, and what switches that off."""

import numpy as np
import numpy.typing as npt
import pytest

from harness.artifact import Finding
from harness.judge.limits import (
    AccuracyLimits,
    CostLimits,
    DefaultLimits,
    Limits,
    judge,
    summary_of,
)
from harness.judge.suspicion import (
    Observed,
    clipped_share,
    judge_defaults,
    look_at_outputs,
    look_inside,
)
from harness.records import Accuracy, Exactness, Outcome, Proportion, TensorComparison, TensorCost

DEFAULTS = DefaultLimits()
X = np.arange(20, dtype=np.float32).reshape(20, 1)


def kinds(
    x: npt.ArrayLike, in_float: npt.ArrayLike | None = None, **options: object
) -> list[tuple[str, str]]:
    one = Observed(
        "out",
        np.asarray(x, np.float32),
        None if in_float is None else np.asarray(in_float, np.float32),
        **options,  # type: ignore[arg-type]
    )
    return [(each.kind, each.severity) for each in look_at_outputs([one], [X], DEFAULTS)]


def test_a_constant_output_looks_wrong_where_floats_is_not() -> None:
    constant, varying = np.ones((20, 3)), np.random.default_rng(0).normal(size=(20, 3))
    assert kinds(constant, varying) == [("constant-output", "warn")]
    assert kinds(constant, constant) == [("constant-output", "note")]
    assert kinds(constant) == [("constant-output", "warn")]
    assert kinds(constant, constant=True) == []  # a constant of the file
    assert kinds(constant[:, :1]) == []  # a detector that finds nothing may say so each time
    assert kinds(varying, varying) == []


def test_the_same_sample_again_must_give_the_same() -> None:
    one = Observed("out", np.ones((20, 3)), np.zeros((20, 3)))
    assert look_at_outputs([one], [np.ones_like(X)], DEFAULTS) == ()


def test_values_that_are_not_finite() -> None:
    clean = np.random.default_rng(0).normal(size=(20, 3))
    nan, inf = clean.copy(), clean.copy()
    nan[3, 1], inf[3, 1] = np.nan, -np.inf
    assert kinds(nan, clean) == [("not-finite", "warn")]
    assert kinds(inf, clean) == [("not-finite", "warn")]
    assert kinds(inf, inf) == [("not-finite", "note")]  # a mask that is an output
    assert kinds(nan, nan) == [("not-finite", "warn")]
    assert kinds(clean, nan) == [("not-finite", "warn")]  # integers cannot show it
    assert kinds(nan) == [("not-finite", "warn")]
    said = look_at_outputs([Observed("out", nan, nan)], [X], DEFAULTS)[0]
    assert "the float model itself gives NaN" in str(said)


def test_a_range_that_float_goes_beyond_is_clipped() -> None:
    in_float = np.linspace(-4, 4, 100).reshape(20, 5)
    x = np.clip(in_float, -1, 1)
    assert clipped_share(Observed("t", x, in_float, (-1.0, 1.0))) == pytest.approx(0.72, abs=0.05)
    assert ("clipped", "warn") in kinds(x, in_float, bounds=(-1.0, 1.0))
    # An activation's own end is no clipping: float does not go beyond.
    relu = np.clip(in_float, 0, None)
    assert clipped_share(Observed("t", relu, relu, (0.0, 4.0))) == 0
    # Neither is the step that the ends of a softmax's range leave out.
    ones = np.ones((20, 5))
    assert clipped_share(Observed("t", ones * 255 / 256, ones, (0.0, 255 / 256))) == 0
    # Every finite stand-in of an infinity is at the end.
    masked = np.full((20, 5), -np.inf)
    assert clipped_share(Observed("t", np.full((20, 5), -9.0), masked, (-9.0, 0.0))) == 0
    # So is that of a mask of -1e9; but values of that size elsewhere are clipped.
    masked = np.full((20, 5), -1e9)
    assert clipped_share(Observed("t", np.full((20, 5), -9.0), masked, (-9.0, 0.0))) == 0
    assert clipped_share(Observed("t", np.full((20, 5), -9e3), masked, (-9e3, 0.0))) == 1


def test_of_the_tensors_inside_the_worst_is_named() -> None:
    in_float = np.linspace(-4, 4, 100)
    mild = Observed("mild", np.clip(in_float, -3, 3), in_float, (-3.0, 3.0))
    hard = Observed("hard", np.clip(in_float, -1, 1), in_float, (-1.0, 1.0))
    fine = Observed("fine", in_float, in_float, (-4.0, 4.0))
    assert [one.where for one in look_inside([mild, fine, hard], DEFAULTS)] == ["'hard'"]
    assert look_inside([fine], DEFAULTS) == ()
    assert look_inside([], DEFAULTS) == ()
    assert look_inside([hard], DefaultLimits(max_clipped=0.9)) == ()


def test_what_a_rectifier_cuts_off_is_not_clipped() -> None:
    in_float = np.linspace(-4, 4, 100)
    rectified = Observed("relu6", np.clip(in_float, 0, 6), in_float, (0.0, 6.0))
    assert look_inside([rectified], DEFAULTS) == ()
    bright = Observed("image", np.clip(in_float, 0, 1), in_float, (0.0, 1.0))
    assert [one.where for one in look_inside([bright], DEFAULTS)] == ["'image'"]


def share(value: float, low: float, high: float) -> Proportion:
    return Proportion(value, low, high)


DESTROYED = Accuracy(
    300,
    near_agreement=share(0.4, 0.35, 0.45),
    drop=share(0.57, 0.5, 0.64),
)


def found(
    limits: Limits, accuracy: Accuracy | None = DESTROYED, cosine: float = 0.0, *seen: Finding
) -> list[str]:
    costs = (TensorCost("out", 1.0, cosine),)
    judged = judge_defaults(limits, seen=seen, accuracy=accuracy, output_costs=costs)
    return [one.kind for one in judged]


def test_a_destroyed_model_looks_wrong_in_every_way() -> None:
    assert found(Limits()) == ["low-cosine", "low-agreement", "top1-drop"]


def test_a_healthy_model_does_not() -> None:
    healthy = Accuracy(300, near_agreement=share(0.97, 0.94, 0.98), drop=share(0.01, -0.01, 0.03))
    assert found(Limits(), healthy, 0.999) == []
    assert found(Limits(), None, 0.96) == []


def test_few_samples_raise_no_alarm() -> None:
    few = Accuracy(5, near_agreement=share(0.6, 0.23, 0.93), drop=share(0.2, -0.2, 0.6))
    assert found(Limits(), few, 1.0) == []


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (Limits(cost=CostLimits(min_cosine=-0.5)), "low-cosine"),
        (Limits(cost=CostLimits(min_sqnr_db=-5)), "low-cosine"),
        (Limits(accuracy=AccuracyLimits(min_agreement=0.3)), "low-agreement"),
        (Limits(accuracy=AccuracyLimits(max_drop_vs_float=0.9)), "top1-drop"),
        (Limits(accuracy=AccuracyLimits(min_top1=0.3)), "top1-drop"),
        (Limits(defaults=DefaultLimits(min_cosine=-1)), "low-cosine"),
        (Limits(defaults=DefaultLimits(min_agreement=0)), "low-agreement"),
        (Limits(defaults=DefaultLimits(max_drop_vs_float=1)), "top1-drop"),
    ],
)
def test_a_limit_on_the_same_quantity_replaces_the_default(limits: Limits, gone: str) -> None:
    left = ["low-cosine", "low-agreement", "top1-drop"]
    left.remove(gone)
    assert found(limits) == left


def test_findings_in_the_file_are_judged_by_their_severity() -> None:
    warn = Finding("saturated-bias", "conv1", "3 of 8 biases are clipped", "use int8", "warn")
    note = Finding("partly-quantized", "", "12 of 14 layers", "", "note")
    assert found(Limits(), None, 1.0, warn, note) == ["saturated-bias"]
    assert str(warn) == "conv1: 3 of 8 biases are clipped; use int8"
    assert str(note) == "12 of 14 layers"
    assert DefaultLimits(accept=("saturated-bias",)).accepts(warn)
    assert DefaultLimits(judge=False).accepts(warn)
    assert not DEFAULTS.accepts(warn)


EXACT = Exactness("p", "exact", outputs=(TensorComparison("out", "exact", 4, 0),))


def test_what_looks_wrong_is_warn_and_a_broken_limit_stays_fail() -> None:
    looks_wrong = (Finding("low-cosine", "'out'", "cosine with float is 0", "see it", "warn"),)
    judged = judge(
        Limits(), exactness=EXACT, cost=None, accuracy=None, latency=None, warnings=looks_wrong
    )
    assert judged.outcome is Outcome.WARN
    assert judged.reasons == ("'out': cosine with float is 0; see it",)
    broken = Limits(accuracy=AccuracyLimits(min_top1=0.9))
    judged = judge(
        broken, exactness=EXACT, cost=None, accuracy=None, latency=None, warnings=looks_wrong
    )
    assert judged.outcome is Outcome.FAIL
    assert all("min_top1" in reason for reason in judged.reasons)


def test_the_outcomes_line_says_what_was_not_judged() -> None:
    assert summary_of(Outcome.PASS, EXACT, Limits()) == (
        "PASS (exact; accuracy not judged: no limits)"
    )
    judged = Limits(cost=CostLimits(min_cosine=0.9))
    assert summary_of(Outcome.PASS, EXACT, judged) == "PASS (exact; accuracy within its limits)"
    assert summary_of(Outcome.FAIL, EXACT, judged) == "FAIL (exact)"
    assert summary_of(Outcome.PASS, None, Limits()).startswith("PASS (not compared on a device; ")
    warnings = (Finding("clipped", "", "", ""), Finding("clipped", "", "", ""))
    assert summary_of(Outcome.WARN, EXACT, Limits(), warnings) == (
        "WARN (exact; looks wrong: clipped; accuracy not judged: no limits)"
    )
