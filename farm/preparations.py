"""Preparations: which artifacts a lab host makes ahead, so that no device waits for them."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from farm.avoiding import may_be_taken_on, put_off
from farm.database import Database, distinct_values
from farm.endings import end_parts
from farm.events import add_event
from farm.job import JobRequest, parse_request
from farm.selection import parse_selector
from farm.tables import JOBS, PARTS, PREPARATIONS
from harness.device import Device
from harness.errors import HostFull, ModelError, UsageError, is_kind
from harness.records import Failure, Outcome

_LOOK_AHEAD = 200
_NEEDED = distinct_values(PARTS.c.preparation, PARTS.c.state == "ready")
_THE_CALLERS = (ModelError, UsageError)


def wanted(
    connection: sa.Connection, host: str, devices: Sequence[Device]
) -> list[tuple[str, str]]:
    """Artifacts that ready parts need on a lab host and that nobody makes there yet.

    Returns:
        Keys, each with a job that needs it, first in line first.
    """
    mine = PREPARATIONS.c.host == host
    needed = _NEEDED.subquery()
    made = sa.exists().where(PREPARATIONS.c.key == needed.c.value, mine)
    if connection.execute(sa.select(needed.c.value).where(~made).limit(1)).first() is None:
        return []
    there = sa.exists().where(PREPARATIONS.c.key == PARTS.c.preparation, mine)
    query = (
        sa.select(PARTS.c.preparation, PARTS.c.selector, PARTS.c.job)
        .where(PARTS.c.state == "ready", ~there, may_be_taken_on(host))
        .order_by(PARTS.c.priority.desc(), PARTS.c.sequence)
        .limit(_LOOK_AHEAD)
    )
    found: dict[str, str] = {}
    for key, selector, job in connection.execute(query):
        if key not in found and any(parse_selector(selector).matches(d, host) for d in devices):
            found[key] = job
    return list(found.items())


def begin(connection: sa.Connection, key: str, host: str, job: str, workflow: str) -> None:
    """Write down that the lab host makes an artifact, by a workflow; once."""
    row = {"key": key, "host": host, "state": "queued", "job": job, "workflow": workflow}
    connection.execute(PREPARATIONS.insert().values(**row))


def unfinished(connection: sa.Connection, host: str) -> list[tuple[str, str]]:
    """Keys and workflows that the lab host has begun and not ended."""
    query = sa.select(PREPARATIONS.c.key, PREPARATIONS.c.workflow).where(
        PREPARATIONS.c.host == host, PREPARATIONS.c.state == "queued"
    )
    return [(key, workflow) for key, workflow in connection.execute(query)]


def request_of(
    database: Database, key: str, host: str, devices: Mapping[str, Device]
) -> tuple[JobRequest | None, Device | None]:
    """What to prepare and a device that it is for; None when nobody needs it any more."""
    query = (
        sa.select(JOBS.c.request)
        .join(PREPARATIONS, PREPARATIONS.c.job == JOBS.c.id)
        .where(PREPARATIONS.c.key == key, PREPARATIONS.c.host == host)
    )
    with database.begin() as connection:
        text = connection.execute(query).scalar_one_or_none()
    if text is None:
        return None, None
    request = parse_request(text)
    chosen = [one for one in devices.values() if request.choice().matches(one, host)]
    return request, chosen[0] if chosen else None


def finished(connection: sa.Connection, key: str, host: str, failure: Failure | None) -> None:
    """The artifact is there, or it cannot be made: then the parts that need it end."""
    mine = (PREPARATIONS.c.key == key, PREPARATIONS.c.host == host)
    if failure is None:
        connection.execute(PREPARATIONS.update().where(*mine).values(state="done"))
        job = connection.execute(sa.select(PREPARATIONS.c.job).where(*mine)).scalar_one_or_none()
        if job is not None:
            add_event(connection, "prepared", f"artifact on {host}", job=job)
        return
    connection.execute(PREPARATIONS.delete().where(*mine))
    if is_kind(failure.kind, HostFull):
        spent = put_off(connection, key, host, f"{failure.kind} on {host}: {failure.message}")
        end_parts(connection, spent, Outcome.ERROR, failure.kind, failure.message)
        return
    outcome = Outcome.FAIL if is_kind(failure.kind, *_THE_CALLERS) else Outcome.ERROR
    query = sa.select(PARTS.c.id).where(
        PARTS.c.preparation == key, PARTS.c.state.in_(("waiting", "ready"))
    )
    parts = connection.execute(query).scalars().all()
    end_parts(connection, parts, outcome, failure.kind, failure.message)
