"""Whom a failed attempt is blamed on: the device, its lab host, or the model once confirmed."""

import pytest
import sqlalchemy as sa

from farm.database import Database
from farm.devices import known_devices
from farm.jobs import status
from farm.parts import Claimed
from farm.preparations import begin, finished, wanted
from farm.tables import PARTS
from farm.workflows import _settle
from harness.device import Device
from harness.records import Failure, Outcome
from tests.farm.jobs_in import a_run, add_devices, claim_on, mark_prepared, submit_ready

REFUSED = Failure("RefusedOnDevice", "no such op")
FULL = Failure("HostFull", "no space left")
NEAR, FAR = Device("n1", "local", ("host-litert",)), Device("f1", "local", ("host-litert",))


@pytest.fixture
def farm(database: Database) -> Database:
    """Two devices on a lab host, one on another."""
    add_devices(database, ["n1", "n2"], "near")
    add_devices(database, ["f1"], "far")
    return database


def settle(farm: Database, claimed: Claimed | None, failure: Failure, outcome: Outcome) -> str:
    assert claimed is not None
    with farm.begin() as connection:
        settled = _settle(connection, claimed, a_run(outcome, failure))
    with farm.begin() as connection:  # do not wait for what is put off
        connection.execute(PARTS.update().values(not_before=PARTS.c.not_before - 2))
    return settled


def health(farm: Database) -> dict[str, str]:
    with farm.begin() as connection:
        return {one.device.name: one.health for one in known_devices(connection)}


def test_a_device_that_refuses_a_model_is_not_believed_alone(farm: Database) -> None:
    job = submit_ready(farm, "near")
    first = claim_on(farm, "n1", "near")
    assert settle(farm, first, REFUSED, Outcome.FAIL) == "retry"
    assert health(farm) == {"n1": "suspect", "n2": "healthy", "f1": "healthy"}
    assert claim_on(farm, "n1", "near") is None  # not before a probe
    assert settle(farm, claim_on(farm, "n2", "near"), REFUSED, Outcome.FAIL) == "accept"
    ended = status(farm, job)
    assert (ended.outcome, ended.parts[0].failure) == (Outcome.FAIL, "RefusedOnDevice")
    assert health(farm)["n2"] == "healthy"


def test_another_device_that_runs_it_proves_the_model_right(farm: Database) -> None:
    job = submit_ready(farm, "near")
    settle(farm, claim_on(farm, "n1", "near"), REFUSED, Outcome.FAIL)
    claimed = claim_on(farm, "n2", "near")
    assert claimed is not None
    with farm.begin() as connection:
        assert _settle(connection, claimed, a_run()) == "accept"
    assert status(farm, job).outcome is Outcome.PASS


def test_a_difference_does_not_confirm_a_refusal(farm: Database) -> None:
    submit_ready(farm, "near")
    claimed = claim_on(farm, "n1", "near")
    assert claimed is not None
    with farm.begin() as connection:
        connection.execute(PARTS.update().values(differences=1))
    assert settle(farm, claimed, REFUSED, Outcome.FAIL) == "retry"


def test_a_full_host_leaves_the_part_to_another_one(farm: Database) -> None:
    job = submit_ready(farm, "near")
    mark_prepared(farm, status(farm, job).request, "far")
    assert settle(farm, claim_on(farm, "n1", "near"), FULL, Outcome.ERROR) == "retry"
    assert set(health(farm).values()) == {"healthy"}
    assert claim_on(farm, "n1", "near") is None
    assert claim_on(farm, "n2", "near") is None
    assert claim_on(farm, "f1", "far") is not None


def test_a_full_host_that_cannot_prepare_leaves_it_to_another_one(farm: Database) -> None:
    job = submit_ready(farm, "near")
    key = status(farm, job).request.preparation()
    with farm.begin() as connection:
        connection.execute(sa.text("DELETE FROM preparations"))
        assert wanted(connection, "near", [NEAR]) == [(key, job)]
        begin(connection, key, "near", job, "w1")
        finished(connection, key, "near", FULL)
        connection.execute(PARTS.update().values(not_before=PARTS.c.not_before - 2))
    with farm.begin() as connection:
        assert wanted(connection, "near", [NEAR]) == []
        assert wanted(connection, "far", [FAR]) == [(key, job)]
    assert status(farm, job).state == "queued"
    for number in range(2):
        with farm.begin() as connection:
            begin(connection, key, "far", job, f"w{number + 2}")
            finished(connection, key, "far", FULL)
    ended = status(farm, job)
    assert (ended.outcome, ended.parts[0].failure) == (Outcome.ERROR, "HostFull")
