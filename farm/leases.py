"""Leases: the right to use a device, in the database, with an expiry and a token that only rises.

Workers take them for jobs, `leased` for everybody else (a pytest session, a person at the desk).
Whoever is killed loses the lease by its expiry; whoever only sleeps meanwhile is stopped by the
token, see `farm.fence`.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import sqlalchemy as sa

from farm.database import Database, now
from farm.devices import Known, known_devices
from farm.fence import Overtake, fenced
from farm.heartbeat import Heartbeat
from farm.selection import Selector
from farm.tables import DEVICES
from harness.device import Connect, Device, Transport
from harness.errors import DevicesBusy, DeviceUnready, NoDevice

TTL_S = 15.0
"""How long a lease lasts after its last heartbeat."""

_POLL_S = 0.5
USABLE = ("healthy",)
"""Health of the devices that jobs and tests get."""


@dataclass(frozen=True)
class Lease:
    """A device is its holder's until the lease expires.

    Attributes:
        device: its name.
        token: higher than that of every earlier lease of the device.
        holder: who; see `holder_name`.
    """

    device: str
    token: int
    holder: str


@dataclass
class Leased:
    """A device held under a lease that a thread keeps alive.

    Attributes:
        device: as the inventory has it.
        lease: its lease.
        connect: opens it under the lease; other devices are opened as they are.
        lost: set when the lease was lost, or may be: the database did not answer for its whole
            time. What is run on the device once another holds it ends in LeaseLost.
    """

    device: Device
    lease: Lease
    connect: Connect
    lost: threading.Event = field(default_factory=threading.Event)


def holder_name(what: str) -> str:
    """A holder of its own: what for, on which machine, which process."""
    return f"{what}@{socket.gethostname()}/{os.getpid()}-{uuid4().hex[:6]}"


def take(
    connection: sa.Connection,
    device: str,
    holder: str,
    *,
    ttl_s: float = TTL_S,
    health: Sequence[str] = USABLE,
) -> Lease | None:
    """Take a device that is free, or whose lease has expired; None when it is neither."""
    statement = (
        DEVICES.update()
        .where(
            DEVICES.c.name == device,
            DEVICES.c.health.in_(health),
            DEVICES.c.holder.is_(None) | (DEVICES.c.lease_expires < now()),
        )
        .values(holder=holder, token=DEVICES.c.token + 1, lease_expires=now() + ttl_s)
        .returning(DEVICES.c.token)
    )
    token = connection.execute(statement).scalar_one_or_none()
    return None if token is None else Lease(device, token, holder)


def renew(
    connection: sa.Connection, holder: str, devices: Sequence[str], *, ttl_s: float = TTL_S
) -> dict[str, int]:
    """The heartbeat: prolong a holder's leases of these devices.

    Returns:
        What it holds: device names and tokens. A lease that is not among them is lost.
    """
    statement = (
        DEVICES.update()
        .where(DEVICES.c.holder == holder, DEVICES.c.name.in_(devices))
        .values(lease_expires=now() + ttl_s)
        .returning(DEVICES.c.name, DEVICES.c.token)
    )
    return {row.name: row.token for row in connection.execute(statement)}


def release(connection: sa.Connection, lease: Lease) -> bool:
    """Give a device back; False when the lease was lost before."""
    statement = (
        DEVICES.update()
        .where(DEVICES.c.name == lease.device, DEVICES.c.token == lease.token)
        .where(DEVICES.c.holder.is_not(None))
        .values(holder=None, lease_expires=None)
    )
    return connection.execute(statement).rowcount == 1


@contextmanager
def leased(
    database: Database,
    selector: Selector,
    connect: Connect,
    *,
    holder: str,
    wait_s: float = 0.0,
    ttl_s: float = TTL_S,
    health: Sequence[str] = USABLE,
) -> Iterator[Leased]:
    """Hold one device that matches; it is given back at the end of the context whatever happens.

    Needs no worker and no queue: only the database. Killed, the holder loses the device after
    `ttl_s`.

    Args:
        database: with the devices registered (`farm.devices.register_devices`).
        selector: which device; its count is not looked at.
        connect: opens a transport to it.
        holder: see `holder_name`.
        wait_s: how long to wait for a device that others have.
        ttl_s: how long the lease outlives its last heartbeat.
        health: which devices may be had.

    Raises:
        NoDevice: no device matches.
        DevicesBusy: all that match were in use, or not healthy, for `wait_s`; or the one that was
            free here is a labgrid place that somebody else has.
    """
    known, lease = _wait_for_one(
        database, selector, holder=holder, wait_s=wait_s, ttl_s=ttl_s, health=health
    )
    held = Leased(known.device, lease, connect)
    with ExitStack() as stack:
        stack.enter_context(_kept_alive(database, held, ttl_s))
        try:
            fence = fenced(
                connect, known.device, lease.token, holder, overtake=_overtaking(database, held)
            )
            held.connect = stack.enter_context(fence)
        except DeviceUnready as error:
            raise DevicesBusy(str(error)) from error
        yield held


def _overtaking(database: Database, held: Leased) -> Overtake:
    from farm.overtaking import overtake  # it knows leases

    first = held.lease

    def call(transport: Transport) -> int | None:
        if held.lease is first and (raised := overtake(database, transport, first)):
            held.lease = raised
        return None if held.lease is first else held.lease.token

    return call


@contextmanager
def _kept_alive(database: Database, held: Leased, ttl_s: float) -> Iterator[None]:
    """Renew a lease for the time of the context; at its end, give the device back."""

    def beat() -> None:
        with database.begin() as connection:
            holds = renew(connection, held.lease.holder, [held.lease.device], ttl_s=ttl_s)
        if held.lease.device not in holds:  # a holder has one lease in its life
            held.lost.set()

    heartbeat = Heartbeat(f"lease-{held.lease.device}", ttl_s, beat, held.lost.set)
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()
        with database.begin() as connection:
            release(connection, held.lease)


def _wait_for_one(
    database: Database,
    selector: Selector,
    *,
    holder: str,
    wait_s: float,
    ttl_s: float,
    health: Sequence[str],
) -> tuple[Known, Lease]:
    deadline = time.monotonic() + wait_s
    while True:
        with database.begin() as connection:
            known = known_devices(connection)
        matching = [one for one in known if selector.matches(one.device, one.host)]
        if not matching:
            names = ", ".join(one.device.name for one in known) or "none"
            raise NoDevice(
                f"no device matches {selector}; there are: {names}; "
                "see `edgefarm device list`, add one with `edgefarm device add`"
            )
        for one in matching:
            with database.begin() as connection:
                lease = take(connection, one.device.name, holder, ttl_s=ttl_s, health=health)
            if lease is not None:
                return one, lease
        if time.monotonic() >= deadline:
            raise DevicesBusy(
                f"no device that matches {selector} became free within {wait_s:g} s: "
                + ", ".join(f"{one.device.name} ({_why_not(one)})" for one in matching)
            )
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def _why_not(known: Known) -> str:
    if known.health not in USABLE:
        return f"{known.health}: {known.cause}" if known.cause else known.health
    return f"in use by {known.holder}" if known.holder else "just taken"
