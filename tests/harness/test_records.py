"""run.json reads back equal, and nothing else reads as a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from harness.device import Device
from harness.errors import ModelError
from harness.records import (
    Divergence,
    Exactness,
    Outcome,
    Run,
    TensorComparison,
    dump_run,
    exit_code,
    load_run,
    parse_run,
)
from tests.harness.any_run import values_of


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values_of(Run))
def test_a_run_reads_back_equal(run: Run) -> None:
    text = dump_run(run)
    assert parse_run(text) == run
    assert dump_run(parse_run(text)) == text


def run_with(got: float) -> Run:
    first = TensorComparison("t", "float", 1, 1, example=Divergence((0,), 1.0, got))
    return Run(
        "1",
        "2026-01-01T00:00:00Z",
        Outcome.PASS,
        "m",
        "d",
        "t",
        "r",
        Device("d", "local"),
        exactness=Exactness(None, "float", (first,)),
    )


@pytest.mark.parametrize(
    ("stored", "ranges"), [([8, 12], ((8, 12),)), (None, ()), ([[0, 1], [5, 6]], ((0, 1), (5, 6)))]
)
def test_traced_samples_of_earlier_versions_are_read(
    stored: Any, ranges: tuple[tuple[int, int], ...]
) -> None:
    document = json.loads(dump_run(run_with(1.0)))
    document["exactness"]["traced_samples"] = stored
    for newer in ("summary", "warnings", "recipe_digest"):
        del document[newer]
    read = parse_run(json.dumps(document).encode())
    assert read.exactness is not None
    assert read.exactness.traced_samples == ranges


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 0),
        ((Outcome.PASS,), 0),
        ((Outcome.PASS, Outcome.WARN), 4),
        ((Outcome.WARN, Outcome.FAIL, Outcome.PASS), 1),
        ((Outcome.WARN, Outcome.FAIL, Outcome.TIMEOUT), 3),
        ((Outcome.CANCELLED,), 3),
    ],
)
def test_the_worst_outcome_is_the_exit_code(outcomes: tuple[Outcome, ...], code: int) -> None:
    assert exit_code(outcomes) == code


@pytest.mark.parametrize("got", [float("nan"), float("inf"), float("-inf"), 2.5])
def test_the_json_is_strict_json_even_for_what_is_not_finite(got: float) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = dump_run(run_with(got))
    json.loads(text, parse_constant=refuse)
    assert dump_run(parse_run(text)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "GREAT"}, "x/run.json: not a run: outcome: Input should be 'PASS'"),
        ({"schema": 99}, "x/run.json: run schema 99, this version reads 1"),
        ({"device": None}, "not a run: device: "),
    ],
)
def test_what_is_not_a_run_is_named(change: dict[str, Any], message: str) -> None:
    text = json.dumps(json.loads(dump_run(run_with(0.0))) | change)
    with pytest.raises(ModelError) as caught:
        parse_run(text.encode(), where="x/run.json")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_broken_files_are_model_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a run"):
        load_run(path)


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load_run(tmp_path / "run.json")
