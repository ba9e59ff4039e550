"""Events: what happened to a job, in order; kept in the database for logs and for watching."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from farm.database import Database, now
from farm.tables import EVENTS

_LONGEST = 4000


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        id: rises with time.
        at: when, seconds since 1970.
        job, part, device: whose; part and device None for the job as a whole.
        kind: submitted, prepared, started, progress, retried, lost, resumed,
            ended or cancelled.
        message: in words.
    """

    id: int
    at: float
    job: str
    part: str | None
    device: str | None
    kind: str
    message: str


def add_event(
    connection: sa.Connection,
    kind: str,
    message: str,
    *,
    job: str,
    part: str | None = None,
    device: str | None = None,
) -> None:
    """Write an event in a transaction."""
    connection.execute(
        EVENTS.insert().values(
            at=now(), job=job, part=part, device=device, kind=kind, message=message[:_LONGEST]
        )
    )


def read_events(database: Database, job: str, *, after: int = 0) -> Iterator[Event]:
    """The events of a job after one of them, oldest first."""
    query = sa.select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.id > after).order_by(EVENTS.c.id)
    with database.begin() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        yield Event(row.id, row.at, row.job, row.part, row.device, row.kind, row.message)
