"""The commands of the queue, on a database of their own and without a worker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.devices import register_devices
from farm.parts import accept
from harness.device import Device
from harness.records import Outcome
from tests.farm.jobs_in import a_run, add_devices, claim_on, mark_prepared, request
from tests.harness.cli.command import Edgefarm

SUBMIT = ("submit", "zoo:m", "--target", "host-litert")


@pytest.fixture
def farm(own_home: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{own_home / 'farm.sqlite'}")
    add_devices(database, ["a"])
    yield database
    database.close()


def end(farm: Database, outcome: Outcome) -> None:
    mark_prepared(farm, request())
    claimed = claim_on(farm, "a")
    assert claimed is not None
    with farm.begin() as connection:
        assert accept(connection, claimed, a_run(outcome))


@pytest.mark.parametrize(("outcome", "code"), [("PASS", 0), ("WARN", 4), ("FAIL", 1), ("ERROR", 3)])
def test_from_submit_to_results(
    edgefarm: Edgefarm, farm: Database, tmp_path: Path, outcome: str, code: int
) -> None:
    job = edgefarm(*SUBMIT).out.strip()
    assert json.loads(edgefarm("status", job, "--json").out)["state"] == "queued"
    early = edgefarm("results", job)
    assert early.code == 2
    assert "queued" in early.err
    end(farm, Outcome(outcome))
    watched = edgefarm("watch", job)
    assert watched.code == code
    assert "started" in watched.out
    assert edgefarm("logs", job).out == watched.out
    assert outcome in edgefarm("status").out
    shown = edgefarm("results", job, "--out", str(tmp_path / "out"))
    assert shown.code == code
    assert (tmp_path / "out" / "report.html").exists()
    assert len(list((tmp_path / "out").glob("*/run.json"))) == 1


def test_cancelled(edgefarm: Edgefarm, farm: Database) -> None:  # noqa: ARG001  a device to wait for
    job = edgefarm(*SUBMIT).out.strip()
    assert "cancelled" in edgefarm("cancel", job).err
    assert "ended already" in edgefarm("cancel", job).err
    assert edgefarm("results", job).code == 3


def test_nothing_matches(edgefarm: Edgefarm, farm: Database) -> None:  # noqa: ARG001  with one device
    ended = edgefarm(*SUBMIT, "--on", "tag=z")
    assert ended.code == 2
    assert "0 match" in ended.err


def test_a_chip_travels_with_the_job(edgefarm: Edgefarm, farm: Database) -> None:
    register_devices(farm, [Device("phone", "local", ("hexagon-litert",))])
    line = ("submit", "zoo:m", "--target", "hexagon-litert")
    job = edgefarm(*line, "--soc", "SM8650", "--json").json["job"]
    assert edgefarm("status", job, "--json").json["request"]["soc"] == "SM8650"
    refused = edgefarm(*line)
    assert refused.code == 2
    assert "needs a chip" in refused.err


def test_files_are_named_as_a_worker_finds_them(
    edgefarm: Edgefarm, farm: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(b"x")
    Path("data.py").write_text("")
    line = ("submit", "m.tflite", "--target", "host-litert", "--data", "data.py:samples")
    job = json.loads(edgefarm(*line, "--json").out)["job"]
    asked = json.loads(edgefarm("status", job, "--json").out)["request"]
    assert asked["model"] == str(tmp_path / "m.tflite")
    assert asked["data"] == f"{tmp_path / 'data.py'}:samples"
    del farm
