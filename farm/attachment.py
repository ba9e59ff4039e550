"""Attachment: one worker process serves a lab host, and goes on with what its predecessor held."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import sqlalchemy as sa

from farm.database import Database, now
from farm.events import add_event
from farm.leases import TTL_S, Lease, release
from farm.tables import DEVICES, PARTS, WORKERS
from harness.errors import UsageError
from harness.host.home import home

_GONE_AFTER = 3.0
"""A worker on another machine counts as gone after so many lease times without a heartbeat."""


@dataclass(frozen=True)
class Attachment:
    """This process's right to serve a lab host.

    Attributes:
        host: name of the lab host.
        instance: of this process, never used again.
    """

    host: str
    instance: str

    @property
    def holder(self) -> str:
        """The holder of its leases."""
        return f"worker {self.host}/{self.instance}"


@contextmanager
def attached(database: Database, host: str, *, ttl_s: float = TTL_S) -> Iterator[Attachment]:
    """Be the worker of a lab host until the end of the context.

    Raises:
        UsageError: another process is, here or on another machine.
    """
    path = home() / f".worker-{host}.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, even killed
        except OSError:
            raise UsageError(
                f"lab host {host!r}: a worker serves it on this machine already; "
                "stop that one, or give this one another --host"
            ) from None
        mine = Attachment(host, uuid4().hex[:12])
        _enter(database, mine, ttl_s)
        try:
            yield mine
        finally:
            with database.begin() as connection:
                connection.execute(WORKERS.delete().where(*_row(mine)))


def beat(connection: sa.Connection, mine: Attachment, *, draining: bool) -> bool:
    """The heartbeat; False when another process serves the lab host now."""
    statement = WORKERS.update().where(*_row(mine)).values(heartbeat=now(), draining=draining)
    return connection.execute(statement).rowcount == 1


def inherit(database: Database, mine: Attachment, *, ttl_s: float = TTL_S) -> list[tuple[str, int]]:
    """Take over what an earlier worker of the lab host left when it was killed.

    Its living leases become this worker's under new tokens, so that nothing of the old process
    counts any more; its other ones are given back.

    Returns:
        Parts and attempts that go on here.
    """
    theirs = DEVICES.c.holder.like(f"worker {mine.host}/%")
    with database.begin() as connection:
        held = connection.execute(
            sa.select(DEVICES.c.name, DEVICES.c.token, DEVICES.c.holder).where(theirs)
        ).all()
    return [part for row in held for part in _inherit(database, mine, row, ttl_s)]


def _inherit(
    database: Database, mine: Attachment, row: sa.Row[str, int, str], ttl_s: float
) -> list[tuple[str, int]]:
    with database.begin() as connection:
        same = (DEVICES.c.name == row.name, DEVICES.c.token == row.token)
        values = {
            "holder": mine.holder, "token": DEVICES.c.token + 1, "lease_expires": now() + ttl_s,
        }  # fmt: skip
        taken = connection.execute(
            DEVICES.update().where(*same, DEVICES.c.lease_expires > now()).values(**values)
        ).rowcount
        if not taken:
            release(connection, Lease(row.name, row.token, row.holder))
            return []
        parts = connection.execute(
            PARTS.update()
            .where(PARTS.c.device == row.name, PARTS.c.token == row.token)
            .where(PARTS.c.state == "running")
            .values(token=row.token + 1)
            .returning(PARTS.c.id, PARTS.c.attempt, PARTS.c.job)
        ).all()
        for part, _, job in parts:
            message = "by the lab host's new worker"
            add_event(connection, "resumed", message, job=job, part=part, device=row.name)
        if not parts:  # of a probe
            release(connection, Lease(row.name, row.token + 1, mine.holder))
        return [(part, attempt) for part, attempt, _ in parts]


def _enter(database: Database, mine: Attachment, ttl_s: float) -> None:
    with database.begin() as connection:
        machine = socket.gethostname()
        values = {
            "instance": mine.instance, "machine": machine, "pid": os.getpid(),
            "started": now(), "heartbeat": now(), "draining": False,
        }  # fmt: skip
        free = (WORKERS.c.machine == machine) | (WORKERS.c.heartbeat < now() - _GONE_AFTER * ttl_s)
        taken = connection.execute(
            WORKERS.update().where(WORKERS.c.host == mine.host, free).values(**values)
        ).rowcount
        if taken:
            return
        query = sa.select(WORKERS.c.machine).where(WORKERS.c.host == mine.host)
        other = connection.execute(query).scalar_one_or_none()
        if other is not None:
            raise UsageError(
                f"lab host {mine.host!r}: a worker on machine {other} serves it; "
                "stop that one, or give this one another --host"
            )
        connection.execute(WORKERS.insert().values(host=mine.host, **values))


def _row(mine: Attachment) -> tuple[sa.ColumnElement[bool], ...]:
    return (WORKERS.c.host == mine.host, WORKERS.c.instance == mine.instance)
