"""Runs in a folder, and back as a table."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.records import Run, TensorComparison, load_run
from reports import load_runs
from reports.frame import COLUMNS, frame_of
from reports.store import read_runs, save_run


def test_a_saved_run_reads_back_equal(tmp_path: Path, passing: Run, hostile: Run) -> None:
    for run in (passing, hostile):
        path = save_run(run, tmp_path)
        assert path == tmp_path / run.id / "run.json"
        read = load_run(path)
        assert replace(read, results=run.results) == run
        assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


def test_what_a_device_said_is_read_without_control_characters(
    tmp_path: Path, passing: Run, hostile: Run
) -> None:
    assert load_run(save_run(passing, tmp_path)).results == passing.results
    (result,) = load_run(save_run(hostile, tmp_path)).results
    assert result.runtime == "<script>alert(1)</script>[red]?[31m?{{7*7}}"


def test_runs_are_immutable(tmp_path: Path, passing: Run) -> None:
    path = save_run(passing, tmp_path)
    assert save_run(passing, tmp_path) == path
    with pytest.raises(UsageError, match="never overwritten"):
        save_run(replace(passing, samples=1), tmp_path)
    assert load_run(path) == passing


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc", "a/b", ".hidden", "a\n", "x" * 200]
)
def test_an_id_is_a_file_name(tmp_path: Path, passing: Run, name: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        save_run(replace(passing, id=name), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, passing: Run) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save_run(passing, tmp_path / "file")


def test_all_runs_become_a_table(
    tmp_path: Path, passing: Run, failing: Run, broken: Run, hostile: Run
) -> None:
    for run in (hostile, broken, passing, failing):
        save_run(run, tmp_path / "nightly")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"id": ')

    with pytest.warns(UserWarning, match=r"torn/run\.json: not a run"):
        frame = load_runs(tmp_path)

    assert len(frame.attrs["problems"]) == 1
    assert list(frame.columns) == list(COLUMNS)
    assert frame["created"].is_monotonic_increasing
    rows = frame.set_index("id")
    good, bad, error = (rows.loc[run.id] for run in (passing, failing, broken))
    assert passing.latency is not None
    assert passing.accuracy is not None
    assert passing.accuracy.top1 is not None
    assert (good.outcome, good.verdict, good.differing, good.elements) == (
        "PASS",
        "exact",
        0,
        12800,
    )
    assert good.latency_ms == passing.latency.median_ns / 1e6
    assert (good.top1, good.top1_low) == (passing.accuracy.top1.value, passing.accuracy.top1.low)
    assert (good.virtual, good.representative) == (True, False)
    assert good.min_sqnr_db == 24.1
    assert (good.runtime, good.cpu, good.load_ms) == ("ai_edge_litert", "Arm 0x41 part 0xd0b", 41)
    assert (bad.outcome, bad.first_op, bad.first_node) == ("FAIL", "CONV_2D", 12)
    assert bad.differing > 0
    assert (error.outcome, error.failure) == ("ERROR", "RunnerKilled")
    assert math.isnan(error.latency_ms)
    assert Path(good.path) == tmp_path / "nightly" / passing.id / "run.json"


def test_no_runs_are_an_empty_table_with_every_column(tmp_path: Path) -> None:
    assert list(load_runs(tmp_path).columns) == list(COLUMNS)
    with pytest.raises(UsageError, match="no such folder"):
        read_runs(tmp_path / "none")


def test_numbers_beyond_64_bits_fit(passing: Run) -> None:
    assert passing.exactness is not None
    huge = TensorComparison("t", "exact", 1, 1, max_lsb=1 << 64)
    run = replace(passing, samples=1 << 70, exactness=replace(passing.exactness, outputs=(huge,)))
    assert frame_of([run])["max_lsb"][0] == (1 << 63) - 1
