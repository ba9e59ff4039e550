"""`edgefarm nightly run` with the example's file, on a farm whose worker is played by the test."""

from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy.orm  # noqa: F401  two threads that load it at once get half of it

from farm.database import open_database
from farm.tables import DEVICES
from harness.records import Outcome
from tests.farm.jobs_in import add_devices
from tests.farm.nightly.test_night import FakeWorker
from tests.harness.cli.command import command

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "nightly.toml"


def test_the_example_night_with_a_device_quarantined_half_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    shorter = EXAMPLE.read_text().replace("stranded_s = 15", "stranded_s = 0.5")
    (tmp_path / "nightly.toml").write_text(shorter)
    (tmp_path / "limits.toml").write_text(EXAMPLE.with_name("limits.toml").read_text())
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(database, ["a", "b"])

    def outcome_of(device: str, done: int) -> Outcome:
        if device == "b" and done == 1:
            broken = {"health": "quarantined", "cause": "numeric: wrong again"}
            with database.begin() as connection:
                connection.execute(DEVICES.update().where(DEVICES.c.name == "b").values(**broken))
        return Outcome.PASS

    with FakeWorker(database, outcome_of):
        night = command(capsys, monkeypatch)(
            "nightly", "run", tmp_path / "nightly.toml", "--out", tmp_path / "out", "--json"
        )
    database.close()
    assert night.code == 3, night.err
    rows = night.json["rows"]
    assert Counter(row["outcome"] for row in rows) == {"PASS": 3, "CANCELLED": 1}
    assert all("digits-cnn" in row["model"] for row in rows)
    (lost,) = [row for row in rows if row["outcome"] == "CANCELLED"]
    assert "b is quarantined (numeric: wrong again)" in lost["message"]
    (junit,) = tmp_path.rglob("junit.xml")
    assert 'tests="4" failures="0" errors="1"' in junit.read_text()
