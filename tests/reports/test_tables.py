"""Tables for the terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from harness.records import Run, TensorComparison
from reports.tables import comparison_table, histogram_text, run_detail, runs_table


def shown(content: RenderableType, width: int = 160) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(content)
    return stream.getvalue()


def test_one_row_for_each_run(passing: Run, failing: Run, broken: Run) -> None:
    text = shown(runs_table([passing, failing, broken]))
    for word in (
        "zoo:efficientnet-lite0",
        "arm-neon-litert",
        "✓ PASS",
        "✗ FAIL",
        "! ERROR",
        "0 of 12,800 differ",
        "top-1 74.0 % (64 to 82)",
        "as float 95.8 %",
        "5.21 ms (virtual)",
        "(throttled)",
        "host 2.28 ms",
        "emulator 91.0 ms",
        "not compared",
    ):
        assert word in text


def test_one_run_in_full(passing: Run, failing: Run, broken: Run) -> None:
    text = " ".join(shown(run_detail(failing)).split())
    for word in (
        *failing.reasons,
        "CONV_2D (node 12, “efficientnet/block4/conv_2d_12”) is the first that differs",
        "from the accumulator -18,432",
        "tensors inside that differ: 27 of 39 compared, the first 10",
        "+1 LSB",
        "24.1 dB",
        "throttled: cpu rose from 41 to 71 °C",
        "50 runs in 1 restart;",
        "slowest steps node 0, ",
    ):
        assert word in text, word
    assert "calibration and evaluation share 12 samples" in shown(run_detail(passing))
    assert "RunnerKilled: device board-b" in shown(run_detail(broken))


def test_a_long_reason_is_shown_whole(failing: Run) -> None:
    reason = "net.py:net: what is not possible, and what to do: " + "words " * 200 + "the end"
    text = " ".join(shown(run_detail(replace(failing, reasons=(reason,)))).split())
    assert reason in text


def test_the_histogram_names_its_outermost_bins() -> None:
    one = TensorComparison(
        "t", "exact", 116, 16, 90, histogram=((-17, 4), (-1, 2), (0, 100), (17, 10))
    )
    lines = histogram_text(one).plain.splitlines()
    assert [line.split()[0] for line in lines] == ["<-16", "-1", "0", ">+16"]
    assert [line.count("█") for line in lines] == [16, 8, 0, 40]


def test_arrays_of_two_files() -> None:
    text = shown(
        comparison_table(
            [
                TensorComparison("out0", "exact", 4, 0, 0),
                TensorComparison("out1", "exact", 4, None, remark="not in b.npz"),
            ]
        )
    )
    assert "out1" in text
    assert "not in b.npz" in text
    assert "Made by" not in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_what_a_model_or_device_says_cannot_command_the_terminal(hostile: Run, width: int) -> None:
    for content in (runs_table([hostile]), run_detail(hostile)):
        text = shown(content, width)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[red]" in "".join(text.split())  # markup is text, not colour
