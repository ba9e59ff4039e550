"""Overtaking: a database that is older than its devices catches up with their tokens.

Tokens only rise, so a device that knows a newer one than the database was used by somebody whom the
database does not know: the farm itself, before its database was restored from a backup, or another
farm. Whoever it was may go on only if he is alive.
"""

import os
import re
import socket
from pathlib import Path

import sqlalchemy as sa

from farm.database import Database, now
from farm.fence import Seen, look
from farm.leases import TTL_S, Lease
from farm.tables import DEVICES, HEALTH_LOG, PARTS, WORKERS
from harness.device import Transport

CAUSE = "token: "
"""What a note in the log of health begins with."""

_MOST = 2_100_000_000 - 1
"""What is above is no token, see `farm.fence`: a shell on a device may not count further."""

_WORKER = re.compile(r"worker (.+)/([0-9a-f]+)")
_PROCESS = re.compile(r".*@([^@/]+)/([0-9]+)-[0-9a-f]+")


def overtake(database: Database, transport: Transport, lease: Lease) -> Lease | None:
    """Raise the database's token of a device above the device's own, for a lease that holds here.

    Returns:
        The lease under its new token; None when the device's newer holder may be alive, the lease
        does not hold any more, or the device has no newer token.
    """
    seen = look(transport)
    if seen is None or seen.token <= lease.token:
        return None
    with database.begin() as connection:
        alive = seen.token >= _MOST or _is_alive(connection, seen)
        raised = None if alive else _raise(connection, lease, seen.token + 1)
        _note(connection, lease, seen, raised)
        return raised


def _is_alive(connection: sa.Connection, seen: Seen) -> bool:
    """Whether the holder that a device names may go on with it."""
    if worker := _WORKER.fullmatch(seen.holder):
        query = sa.select(WORKERS.c.instance).where(
            WORKERS.c.host == worker[1], WORKERS.c.heartbeat > now() - TTL_S
        )
        instance = connection.execute(query).scalar_one_or_none()
        if instance is not None:  # a lab host has one worker
            return bool(instance == worker[2])
    if (process := _PROCESS.fullmatch(seen.holder)) and process[1] == socket.gethostname():
        return Path(f"/proc/{process[2]}").exists() and int(process[2]) != os.getpid()
    return seen.works or seen.recent


def _raise(connection: sa.Connection, lease: Lease, token: int) -> Lease | None:
    mine = (DEVICES.c.name == lease.device, DEVICES.c.token == lease.token)
    held = DEVICES.update().where(*mine, DEVICES.c.holder == lease.holder)
    if connection.execute(held.values(token=token)).rowcount == 0:
        return None
    connection.execute(
        PARTS.update()
        .where(PARTS.c.device == lease.device, PARTS.c.token == lease.token)
        .where(PARTS.c.state == "running")
        .values(token=token)
    )
    return Lease(lease.device, token, lease.holder)


def _note(connection: sa.Connection, lease: Lease, seen: Seen, raised: Lease | None) -> None:
    query = sa.select(DEVICES.c.health).where(DEVICES.c.name == lease.device)
    health = connection.execute(query).scalar_one_or_none() or "healthy"
    told = f"the device knows token {seen.token} of {seen.holder!r}, the database {lease.token}"
    follows = (
        f"the database is older than the device; it goes on with {raised.token}"
        if raised
        else "that holder may be alive; the device is left to it"
    )
    connection.execute(
        HEALTH_LOG.insert().values(
            at=now(),
            device=lease.device,
            before=health,
            after=health,
            cause=f"{CAUSE}{told}: {follows}",
        )
    )
