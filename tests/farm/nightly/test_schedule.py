"""The service: nights by the clock, gone on with after a kill, and made up for when missed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.jobs import recent_jobs
from farm.nightly.plan import load_plan
from farm.nightly.schedule import is_superseded
from farm.parts import accept
from tests.farm.jobs_in import a_run, add_devices, claim_on, mark_prepared

PLAN = """
[nightly]
name = "t"
schedule = "{schedule}"
missed = "catch-up"

[[models]]
model = "zoo:digits-cnn"
recipes = ["float"]

[[devices]]
target = "host-litert"
"""


def test_an_old_night_is_superseded_by_a_later_one(tmp_path: Path) -> None:
    (tmp_path / "nightly.toml").write_text(PLAN.format(schedule="0 * * * *"))
    plan = load_plan(tmp_path / "nightly.toml")
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    assert not is_superseded(plan, last)
    assert is_superseded(plan, last - timedelta(hours=1))


@contextmanager
def started(folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = ["nightly", "schedule", str(folder / "nightly.toml"), "--database", url]
    service = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *command, "--out", str(folder / "out")],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "EDGEFARM_HOME": str(folder)},
    )
    try:
        yield service
    finally:
        service.kill()
        service.wait()


def first_night(database: Database) -> str:
    """The name of the oldest night, when it has its job."""
    for _ in range(900):
        if jobs := recent_jobs(database):
            return jobs[-1].request.label.removeprefix("nightly ")
        time.sleep(0.1)
    raise AssertionError("no job came")


def finish_all(database: Database) -> None:
    for job in recent_jobs(database):
        if job.state != "done":
            mark_prepared(database, job.request)
            claimed = claim_on(database, "a")
            assert claimed is not None
            with database.begin() as connection:
                assert accept(connection, claimed, a_run())


@pytest.mark.slow
def test_a_killed_service_goes_on_with_its_night(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(database, ["a"])
    (tmp_path / "nightly.toml").write_text(PLAN.format(schedule="*/15 * * * * *"))
    with started(tmp_path, database.url) as service:
        night = first_night(database)
        service.send_signal(signal.SIGKILL)
        service.wait()
    told = tmp_path / "out" / night / "junit.xml"
    assert not told.exists()
    with started(tmp_path, database.url) as service:
        for _ in range(900):
            finish_all(database)
            if told.exists():
                break
            assert service.poll() is None
            time.sleep(0.1)
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    assert 'tests="1" failures="0" errors="0"' in told.read_text()
    labels = [job.request.label for job in recent_jobs(database)]
    assert labels.count(f"nightly {night}") == 1
    database.close()
