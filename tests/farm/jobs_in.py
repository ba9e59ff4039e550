"""What the tests of the farm's queue share: a database with devices and one way to submit."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from farm.database import Database
from farm.devices import known_devices, register_devices
from farm.job import JobRequest, job_request
from farm.jobs import submit
from farm.parts import Claimed, claim, matching, ready_selectors
from farm.tables import DEVICES, PREPARATIONS
from harness.device import Device
from harness.records import Failure, Outcome, Run

_NUMBERS = count()
HOST = "lab-1"


def request(**fields: Any) -> JobRequest:
    return job_request({"model": "zoo:m", "data": "zoo:m", "target": "host-litert"} | fields)


def add_devices(database: Database, names: Sequence[str], host: str = HOST) -> None:
    devices = [Device(name, "local", ("host-litert",), tags=(name[0],)) for name in names]
    register_devices(database, devices, host=host)


def submit_ready(database: Database, host: str = HOST, **fields: Any) -> str:
    """Submit a job whose artifact is there."""
    asked = request(label=f"job {next(_NUMBERS)}", **fields)
    job = submit(database, asked)
    mark_prepared(database, asked, host)
    return job


def mark_prepared(database: Database, asked: JobRequest, host: str = HOST) -> None:
    key = asked.preparation()
    with database.begin() as connection:
        connection.execute(
            PREPARATIONS.delete().where(PREPARATIONS.c.key == key, PREPARATIONS.c.host == host)
        )
        connection.execute(
            PREPARATIONS.insert().values(key=key, host=host, state="done", job="", workflow="")
        )


def claim_on(database: Database, device: str, host: str = HOST, **options: Any) -> Claimed | None:
    with database.begin() as connection:
        known = next(one for one in known_devices(connection) if one.device.name == device)
        fitting = matching(ready_selectors(connection), known, host)
        return claim(connection, device, host, fitting, f"holder on {host}", **options)


def expire_leases(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(DEVICES.update().values(lease_expires=0.0))


def a_run(outcome: Outcome = Outcome.PASS, failure: Failure | None = None) -> Run:
    number = next(_NUMBERS)
    return Run(
        id=f"run-{number}",
        created="2026-01-01T00:00:00+00:00",
        outcome=outcome,
        model="zoo:m",
        data="zoo:m",
        target="host-litert",
        recipe="",
        device=Device("a", "local"),
        failure=failure,
    )
