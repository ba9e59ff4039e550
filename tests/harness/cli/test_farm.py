"""The commands that look at the farm and order devices' health."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from farm.database import Database, open_database
from farm.jobs import submit
from harness.cli.output import stdout
from tests.farm.jobs_in import add_devices, claim_on, mark_prepared, request
from tests.harness.cli.command import Edgefarm


@pytest.fixture(autouse=True)
def farm(own_home: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{own_home / 'farm.sqlite'}")
    add_devices(database, ["pi"])
    yield database
    database.close()


def test_a_device_is_taken_out_and_brought_back_by_hand(edgefarm: Edgefarm) -> None:
    assert "pi" in edgefarm("device", "state").out
    edgefarm("device", "maintenance", "pi", "--reason", "new fan")
    assert edgefarm("device", "state", "--json").json[0]["health"] == "maintenance"
    edgefarm("device", "resume", "pi")
    edgefarm("device", "quarantine", "pi")
    changes = edgefarm("device", "history", "pi", "--json").json
    assert [one["after"] for one in changes] == ["quarantined", "suspect", "maintenance"]
    assert "new fan" in changes[2]["cause"]
    assert edgefarm("device", "maintenance", "nothing").code == 2


def test_top_and_metrics_and_doctor(edgefarm: Edgefarm) -> None:
    assert "healthy" in edgefarm("top", "--once").out
    assert edgefarm("top", "--json").json["devices"][0]["health"] == "healthy"
    assert "edgefarm_device_health" in edgefarm("metrics").out
    looked = edgefarm("doctor")
    assert looked.code == 3
    assert "edgefarm worker" in " ".join(looked.out.split())


def test_clean(edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    assert edgefarm("clean", "--json").json["cache_entries"] == 0


def test_the_schema_of_the_inventory(edgefarm: Edgefarm) -> None:
    schema = json.loads(edgefarm("device", "schema").out)
    validator = Draft202012Validator(schema)
    good = {"devices": {"pi": {"transport": "ssh", "host": "192.0.2.7"}}}
    assert not list(validator.iter_errors(good))
    wrong = {"devices": {"pi": {"transport": "pigeon"}}}
    assert list(validator.iter_errors(wrong))


def test_top_breaks_no_id_at_80_columns(
    edgefarm: Edgefarm, farm: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id is there to be copied; devices' names are, too."""
    monkeypatch.setattr(stdout, "_width", 80)
    board, job = "a-board-with-a-name-of-32-letters", "sha256-0123456789abcdef0123456789abcdef"
    add_devices(farm, [board])
    submit(farm, request(selector=f"name={board}"), job_id=job)
    mark_prepared(farm, request())
    assert claim_on(farm, board) is not None
    shown = edgefarm("top", "--once").out
    assert f"{board}: {job}\n" in shown
    assert shown.count(board) == 2
    assert max(map(len, shown.splitlines())) <= 80


def test_status_shows_a_jobs_name_and_no_path_or_digest(
    edgefarm: Edgefarm, farm: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stdout, "_width", 80)
    digest = "0123456789abcdef" * 4
    kept = tmp_path / digest / "model.tflite"
    for number, (model, named) in enumerate(
        [
            (str(kept), "nets.py:\x1b[2Jsmall"),
            (f"stored:{digest}/other.tflite", ""),
            (str(kept.with_name("older.tflite")), ""),
        ]
    ):
        submit(farm, request(model=model, named=named, label=str(number)), job_id=f"job-{number}")
    shown = edgefarm("status").out
    for name in ("nets.py:?[2Jsmall", "other.tflite", "older.tflite", "job-0", "job-1", "job-2"):
        assert name in shown
    one = edgefarm("status", "job-0").out
    assert "nets.py:?[2Jsmall" in one
    assert digest[:16] not in shown + one
