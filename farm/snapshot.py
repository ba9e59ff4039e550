"""Snapshot: the farm at one moment, for `edgefarm top`, metrics and `edgefarm doctor`."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from farm.database import Database, now
from farm.devices import Known, known_devices
from farm.tables import EVENTS, JOBS, PARTS, WORKERS


@dataclass(frozen=True)
class WorkerState:
    """The worker of one lab host.

    Attributes:
        host, machine, pid: where it is.
        silent_s: since its last heartbeat.
        draining: it begins nothing new.
    """

    host: str
    machine: str
    pid: int
    silent_s: float
    draining: bool


@dataclass(frozen=True)
class Snapshot:
    """What the farm is doing.

    Attributes:
        at: seconds since 1970, by the database's clock.
        workers: one for each lab host that is served.
        devices: all, by name.
        parts: how many in each state but done.
        jobs: how many ended with each outcome.
        events: how many of each kind.
        running: the job on each device that has one.
        ready_selectors: what the parts in line ask for, with how many.
        oldest_ready_s: how long the first in line has waited; None without a line.
    """

    at: float
    workers: tuple[WorkerState, ...]
    devices: tuple[Known, ...]
    parts: Mapping[str, int]
    jobs: Mapping[str, int]
    events: Mapping[str, int]
    running: Mapping[str, str]
    ready_selectors: Mapping[str, int]
    oldest_ready_s: float | None


def take_snapshot(database: Database) -> Snapshot:
    """Look at the farm once."""
    with database.begin() as connection:
        at = connection.execute(sa.select(now())).scalar_one()
        oldest = connection.execute(
            sa.select(sa.func.min(JOBS.c.created))
            .join(PARTS, PARTS.c.job == JOBS.c.id)
            .where(PARTS.c.state == "ready")
        ).scalar_one()
        workers = connection.execute(sa.select(WORKERS).order_by(WORKERS.c.host)).all()
        running = sa.select(PARTS.c.device, PARTS.c.job).where(PARTS.c.state == "running")
        return Snapshot(
            at=at,
            workers=tuple(
                WorkerState(one.host, one.machine, one.pid, at - one.heartbeat, one.draining)
                for one in workers
            ),
            devices=tuple(known_devices(connection)),
            parts=_counts(connection, PARTS.c.state, PARTS.c.state != "done"),
            jobs=_counts(connection, JOBS.c.outcome, JOBS.c.state == "done"),
            events=_counts(connection, EVENTS.c.kind, sa.true()),
            running={row.device: row.job for row in connection.execute(running)},
            ready_selectors=_counts(connection, PARTS.c.selector, PARTS.c.state == "ready"),
            oldest_ready_s=None if oldest is None else at - oldest,
        )


def _counts(
    connection: sa.Connection, column: sa.Column[str], where: sa.ColumnElement[bool]
) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).where(where).group_by(column)
    return {row[0]: row[1] for row in connection.execute(query)}
