"""The commands that look at the farm and order devices' health."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from farm.database import Database, open_database
from tests.farm.jobs_in import add_devices
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
