"""Devices in the database: what the inventory says of them, with their health and lease."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.exc import IntegrityError

from farm.database import Database, now
from farm.inventory import HOST
from farm.tables import DEVICES
from harness.device import Device
from harness.errors import HarnessError, UsageError

_DEVICE = TypeAdapter(Device)
_TOKENS_SINCE = 1_577_836_800  # 2020-01-01
_TRIES = 10


@dataclass(frozen=True)
class Known:
    """A device, and what the farm knows of it now.

    Attributes:
        device: as the inventory of its lab host has it.
        host: the lab host; None when no worker has served it yet.
        health, cause, since: see `farm.health`.
        failed_probes: in a row.
        next_probe: when the next one is due.
        last_seen: when it last answered; None for never.
        holder: who has it; None when it is free. A lease past `expires` counts as free.
        expires: when the lease ends unless it is renewed.
        token: of its newest lease.
    """

    device: Device
    host: str | None
    health: str
    cause: str
    since: float
    failed_probes: int
    next_probe: float
    last_seen: float | None
    holder: str | None
    expires: float | None
    token: int


def register_devices(
    database: Database, devices: Sequence[Device], *, host: str | None = None
) -> None:
    """Write inventory entries to the database; health and leases stay as they are.

    The built-in device `host` is another machine on every lab host: it goes by the name of the lab
    host it belongs to, if one is given.

    Args:
        database: the farm's.
        devices: of an inventory.
        host: the lab host they are attached to; None leaves that as it is.

    Raises:
        UsageError: another lab host serves a device of that name.
    """
    for _ in range(_TRIES):
        try:
            with database.begin() as connection:
                _register(connection, devices, host)
            return
        except IntegrityError:
            continue  # another process wrote the same device first
    raise HarnessError("the devices cannot be registered: others write the same ones all the time")


def _register(connection: sa.Connection, devices: Sequence[Device], host: str | None) -> None:
    found = connection.execute(sa.select(DEVICES.c.name, DEVICES.c.host, DEVICES.c.entry))
    known = {name: (at, entry) for name, at, entry in found}
    for device in devices:
        entry = _DEVICE.dump_json(device).decode()
        at, before = known.get(device.name, (None, None))
        if host is not None and at not in (None, host):
            raise UsageError(
                f"device {device.name!r}: lab host {at!r} serves it; a device has one lab "
                "host: rename it, or remove it there"
            )
        if before is None:
            _insert(connection, device.name, entry, host)
        elif before != entry or (host is not None and at != host):
            connection.execute(
                DEVICES.update()
                .where(DEVICES.c.name == device.name)
                .values(entry=entry, host=host or at)
            )


def named_for(device: Device, host: str) -> Device:
    """A lab host's device; the built-in one takes the lab host's name."""
    return replace(device, name=host) if device.name == HOST else device


def forget_devices(database: Database, host: str, *, keep: Sequence[str]) -> None:
    """Remove the devices of a lab host that its inventory has no more, unless they are in use."""
    with database.begin() as connection:
        connection.execute(
            DEVICES.delete().where(
                DEVICES.c.host == host, DEVICES.c.name.not_in(keep), DEVICES.c.holder.is_(None)
            )
        )


def known_devices(connection: sa.Connection, *, host: str | None = None) -> list[Known]:
    """Every device, or those of a lab host, by name."""
    query = sa.select(DEVICES).order_by(DEVICES.c.name)
    if host is not None:
        query = query.where(DEVICES.c.host == host)
    return [
        Known(
            device=_parsed(row.entry),
            host=row.host,
            health=row.health,
            cause=row.cause,
            since=row.health_since,
            failed_probes=row.failed_probes,
            next_probe=row.next_probe,
            last_seen=row.last_seen,
            holder=row.holder,
            expires=row.lease_expires,
            token=row.token,
        )
        for row in connection.execute(query)
    ]


@lru_cache(maxsize=4096)
def _parsed(entry: str) -> Device:
    """An inventory entry; every look at the queue and every submit reads all of them."""
    return _DEVICE.validate_json(entry)


def first_token() -> int:
    """Where a new device's tokens begin: with the clock, so that they go on rising on a device
    that an earlier, lost database has used; a shell there counts to 2^31."""
    return int(time.time()) - _TOKENS_SINCE


def _insert(connection: sa.Connection, name: str, entry: str, host: str | None) -> None:
    connection.execute(
        DEVICES.insert().values(
            name=name,
            host=host,
            entry=entry,
            health_since=now(),
            next_probe=now(),
            token=first_token(),
        )
    )
