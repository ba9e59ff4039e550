"""A night on a farm whose worker is played by the test."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.database import Database
from farm.jobs import recent_jobs, status
from farm.nightly.night import run_night
from farm.nightly.plan import Plan, load_plan
from farm.parts import accept
from farm.tables import DEVICES
from harness.records import Outcome
from tests.farm.jobs_in import a_run, add_devices, claim_on, mark_prepared

PLAN = """
[nightly]
name = "t"
stranded_s = 0.3
time_limit_s = 60

[[models]]
model = "zoo:digits-cnn"
recipes = ["float", "static_wi8_ai8"]

[[devices]]
target = "host-litert"
on = "each"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "nightly.toml").write_text(PLAN)
    return load_plan(tmp_path / "nightly.toml")


class FakeWorker:
    """Ends parts as it is told, until the test ends."""

    def __init__(
        self, database: Database, outcome_of: Callable[[str, int], Outcome | None]
    ) -> None:
        self.database = database
        self.outcome_of = outcome_of
        self.done: dict[str, int] = {}
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "FakeWorker":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join()

    def _work(self) -> None:
        while not self.end.wait(0.05):
            for job in recent_jobs(self.database):
                if job.state != "done":
                    mark_prepared(self.database, job.request)
            for device in ("a", "b"):
                outcome = self.outcome_of(device, self.done.get(device, 0))
                claimed = claim_on(self.database, device) if outcome else None
                if claimed is not None and outcome is not None:
                    with self.database.begin() as connection:
                        accept(connection, claimed, a_run(outcome))
                    self.done[device] = self.done.get(device, 0) + 1


def test_a_night_in_which_all_pass(database: Database, plan: Plan) -> None:
    add_devices(database, ["a", "b"])
    with FakeWorker(database, lambda *_: Outcome.PASS):
        summary = run_night(database, plan, "n1", poll_s=0.05)
        again = run_night(database, plan, "n1", poll_s=0.05)
    assert summary.exit_code == 0
    assert summary.headline == "nightly t: 4 PASS"
    assert [(row.recipe, row.device) for row in summary.rows] == [
        ("float", "a"), ("float", "b"), ("static_wi8_ai8", "a"), ("static_wi8_ai8", "b"),
    ]  # fmt: skip
    assert again.rows == summary.rows
    assert len(recent_jobs(database)) == 2  # the second one of the same name was the same night
    assert all(row.run for row in summary.rows)


def test_one_device_quarantined_half_way(database: Database, plan: Plan) -> None:
    add_devices(database, ["a", "b"])

    def outcome_of(device: str, done: int) -> Outcome | None:
        if device == "b" and done == 1:
            with database.begin() as connection:
                broken = {"health": "quarantined", "cause": "numeric: wrong again"}
                connection.execute(DEVICES.update().where(DEVICES.c.name == "b").values(**broken))
        return Outcome.PASS

    with FakeWorker(database, outcome_of):
        summary = run_night(database, plan, "n1", poll_s=0.05)
    assert summary.exit_code == 3
    assert summary.headline == "nightly t: 3 PASS, 1 CANCELLED"
    (lost,) = [row for row in summary.rows if row.outcome is not Outcome.PASS]
    assert lost.message == "b is quarantined (numeric: wrong again)"
    assert "b is quarantined" in summary.text()


def test_numbers_that_fail_are_exit_code_1(database: Database, plan: Plan) -> None:
    add_devices(database, ["a", "b"])
    with FakeWorker(database, lambda device, _: Outcome.FAIL if device == "a" else Outcome.PASS):
        assert run_night(database, plan, "n1", poll_s=0.05).exit_code == 1


def test_a_night_without_devices_and_one_without_time(database: Database, plan: Plan) -> None:
    summary = run_night(database, plan, "n1", poll_s=0.05)
    assert summary.exit_code == 3
    assert "asks for" in summary.rows[0].message
    add_devices(database, ["a"])
    short = plan.model_copy(
        update={"nightly": plan.nightly.model_copy(update={"time_limit_s": 0.1})}
    )
    said: list[str] = []
    late = run_night(database, short, "n2", poll_s=0.05, say=said.append)
    assert {row.message for row in late.rows} == {"not done within the night's 0.1 s"}
    assert any("edgefarm worker" in line for line in said)


def test_a_part_that_runs_is_not_given_up(database: Database, plan: Plan) -> None:
    """Its device was taken out of service while it worked: what it brings still counts."""
    add_devices(database, ["a"])
    begun = threading.Event()

    def works_long() -> None:
        while not (jobs := recent_jobs(database)):
            time.sleep(0.05)
        for job in jobs:
            mark_prepared(database, job.request)
        while (claimed := claim_on(database, "a")) is None:
            time.sleep(0.05)
        with database.begin() as connection:
            connection.execute(DEVICES.update().values(health="maintenance"))
        begun.set()
        time.sleep(1.0)
        with database.begin() as connection:
            assert accept(connection, claimed, a_run())

    worker = threading.Thread(target=works_long)
    worker.start()
    summary = run_night(database, plan, "n1", poll_s=0.05)
    worker.join()
    assert begun.is_set()
    assert sorted(row.outcome for row in summary.rows) == [Outcome.CANCELLED, Outcome.PASS]
    assert status(database, summary.rows[0].job or "").state == "done"
