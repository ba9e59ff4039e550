"""How reports say things."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.accuracy import wilson
from harness.records import Divergence, Exactness, Run, TensorComparison
from reports import words


@given(st.text(), st.integers(8, 60))
def test_printable_text_is_harmless_and_short(text: str, limit: int) -> None:
    shown = words.printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= 10 * limit
    if len(text) <= limit and text.isprintable():
        assert shown == text


def test_long_names_keep_both_ends() -> None:
    assert words.printable("a" * 50 + "b" * 50, 20) == "aaaaaaaaa…bbbbbbbbbb"


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (999_900, "1.00 ms"),
        (5_117_300, "5.12 ms"),
        (99_960_000, "100 ms"),
        (2.3e6, "2.30 ms"),
        (1.5e9, "1.50 s"),
        (2e12, "2,000 s"),
    ],
)
def test_durations(ns: float | None, said: str) -> None:
    assert words.duration(ns) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.0, "100 %"), (0.0, "0 %"), (0.7123, "71.2 %"), (0.99999, "99.999 %"), (1e-5, "0.001 %")],
)
def test_percentages_say_all_and_nothing_only_when_true(value: float, said: str) -> None:
    assert words.percent(value) == said


def test_shares_and_sizes() -> None:
    assert words.share(wilson(81, 263)) == "30.8 % (25.5 to 36.6)"
    assert words.share(None) == "-"
    assert words.size(5_413_344) == "5.163 MiB"
    assert words.size(12) == "12 B"
    assert words.plural(1, "restart") == "1 restart"
    assert words.plural(2000, "run") == "2,000 runs"


def compared(differing: int | None, *, promise: str = "exact") -> TensorComparison:
    return TensorComparison("t", promise, 12_000, differing, 3 if differing else 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "not compared"),
        (Exactness("p", "exact", (compared(0),)), "0 of 12,000 differ"),
        (Exactness("p", "differs", (compared(7),)), "7 of 12,000 differ, at most 3 LSB"),
        (Exactness("p", "differs", (compared(0),)), "0 of 12,000 differ, but a tensor inside does"),
        (Exactness("p", "differs", (compared(None),)), "another shape or dtype"),
        (Exactness("p", "assumed", (compared(0),)), "0 of 12,000 differ (assumed)"),
        (
            Exactness("p", "float", (compared(9, promise="float"),)),
            "float: not judged; outputs at most 3 ULP apart",
        ),
        (Exactness(None, "unknown", reason="no profile"), "unknown: no profile"),
    ],
)
def test_exactness(found: Exactness | None, said: str) -> None:
    assert words.exactness(found) == said


def test_first_divergence_in_words(failing: Run) -> None:
    assert failing.exactness is not None
    first = failing.exactness.first_divergence
    assert first is not None
    first = replace(
        first,
        differing=30,
        max_lsb=2,
        example=Divergence((0, 3), expected=-14, got=-13, accumulator=-18432),
    )
    assert words.divergence(first) == (
        "CONV_2D (node 12, “efficientnet/block4/conv_2d_12”) is the first that differs. "
        "At [0, 3] the emulator expects -14 (from the accumulator -18,432), the device computed "
        "-13. 30 of its 12,800 elements differ, by at most 2 LSB."
    )


@pytest.mark.parametrize(
    ("remark", "said"),
    [("throttled: 81 °C", " (throttled)"), ("virtual", " (virtual)"), ("", " (?)"), (" ", " (?)")],
)
def test_a_time_that_says_nothing_is_marked(failing: Run, remark: str, said: str) -> None:
    assert failing.latency is not None
    measured = replace(failing.latency, representative=False, remark=remark)
    assert words.mark(measured) == said
    assert words.mark(replace(measured, representative=True)) == ""


def test_traced_samples(failing: Run) -> None:
    def said(*ranges: tuple[int, int]) -> str:
        return words.traced(
            replace(failing, samples=1198, exactness=Exactness("p", "exact", traced_samples=ranges))
        )

    assert said() == ""
    assert said((3, 4)) == "tensors inside: 1 of 1,198 samples"
    assert said((0, 8), (8, 12), (1190, 1198)) == "tensors inside: 20 of 1,198 samples"
    assert words.traced(replace(failing, exactness=None)) == ""


def test_an_outcome_says_what_was_not_judged(failing: Run) -> None:
    summary = "PASS (exact; accuracy not judged: no limits)"
    assert words.outcome(replace(failing, summary=summary)) == summary
    assert words.outcome(replace(failing, summary="")) == "FAIL"  # of an earlier version


def test_floats_are_told_by_their_relative_error() -> None:
    def said(sqnr_db: float | None) -> str:
        one = replace(compared(3, promise="float"), max_lsb=1_507_584, sqnr_db=sqnr_db)
        return words.exactness(Exactness("p", "float", outputs=(one,)))

    assert said(140.0) == (
        "float: not judged; relative error 1e-07 against the emulator (140.0 dB)"
    )
    assert said(float("inf")).endswith("outputs equal the emulator's")
    assert "NaN or infinite" in said(float("-inf"))
    assert said(None).endswith("1,507,584 ULP apart")  # a run of an earlier version
    assert "relative error" in said(-1e300)


def test_elements_show_what_tells_them_apart() -> None:
    assert words.element(-13) == "-13"
    assert words.element(10.535038948059082) != words.element(10.535037994384766)
    assert words.element(float("inf")) == "inf"


def test_a_failure_is_told_once(broken: Run) -> None:
    assert broken.failure is not None
    told = replace(broken, reasons=(broken.failure.message, "another"))
    assert words.reasons(told) == ("another",)


def test_models_are_named_without_their_folders(passing: Run) -> None:
    assert words.model_name(replace(passing, model="/a/b/net.py:build")) == "net.py:build"
    assert words.model_name(replace(passing, model="zoo:digits-cnn")) == "zoo:digits-cnn"
    assert words.model_name(replace(passing, model="/a/b/net.tflite")) == "net.tflite"
