"""A device at somebody's desk: used by a command, under the farm's lease where a farm has it.

A device that no database here knows is opened as it is, and costs one look: it says itself whether
a farm elsewhere runs something on it now.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from farm.fence import FencedConnect, look
from farm.inventory import HOST
from harness.device import NO_DEVICE, Connect, Device, Transport
from harness.errors import DevicesBusy
from harness.host.home import home

if TYPE_CHECKING:
    import sqlalchemy as sa

DATABASE_VARIABLE = "EDGEFARM_DATABASE"


@contextmanager
def at_the_desk(device: Device, connect: Connect, *, what: str) -> Iterator[Connect]:
    """Hold a device for a command; what opens it comes out.

    A person may have a device that is quarantined or in maintenance: to mend it. One that somebody
    else has is refused at once.

    Args:
        device: of this host's inventory, or `NO_DEVICE`.
        connect: opens transports.
        what: the command, for those who find the device in use.

    Raises:
        DevicesBusy: somebody else has the device; the message says who.
    """
    if device == NO_DEVICE:
        yield connect
        return
    url = os.environ.get(DATABASE_VARIABLE) or None
    if url is None and not (home() / "farm.sqlite").exists():
        yield _watchful(device, connect)
        return
    with _leased(device, connect, what, url) as opened:
        yield opened


@contextmanager
def _leased(device: Device, connect: Connect, what: str, url: str | None) -> Iterator[Connect]:
    """Under the lease of a farm's database, which may not know the device either."""
    # SQLAlchemy takes longer to import than all else here.
    from farm.database import open_database
    from farm.devices import known_devices
    from farm.health import State
    from farm.leases import holder_name, leased
    from farm.selection import Selector

    with ExitStack() as stack:
        database = open_database(url)
        stack.callback(database.close)
        with database.begin() as connection:
            name = _name_in_farm(connection, device)
            holders = {one.device.name: one.holder for one in known_devices(connection)}
        if name not in holders:
            yield _watchful(device, connect)
            return
        holding = leased(
            database,
            Selector(name=name),
            connect,
            holder=holder_name(f"edgefarm {what}"),
            health=get_args(State),
        )
        try:
            opened = stack.enter_context(holding).connect
        except DevicesBusy as error:
            raise _in_use(device, holders[name] or "somebody else") from error
        if isinstance(opened, FencedConnect):
            opened = replace(opened, device=device.name)
        yield opened


def _name_in_farm(connection: "sa.Connection", device: Device) -> str:
    """A device's name in the database: the built-in one goes by its lab host's."""
    if device.name != HOST:
        return device.name
    import sqlalchemy as sa

    from farm.tables import WORKERS

    here = socket.gethostname()
    query = sa.select(WORKERS.c.host).where(WORKERS.c.machine == here).order_by(WORKERS.c.host)
    return str(connection.execute(query).scalars().first() or here)


def _watchful(device: Device, connect: Connect) -> Connect:
    """Opens a device unless it says that somebody's process runs on it now."""

    @contextmanager
    def opened(asked: Device) -> Iterator[Transport]:
        with connect(asked) as transport:
            seen = look(transport) if asked.name == device.name else None
            if seen is not None and seen.works:
                raise _in_use(device, seen.holder)
            yield transport

    return opened


def _in_use(device: Device, holder: str) -> DevicesBusy:
    return DevicesBusy(
        f"device {device.name} is in use by {holder}; wait until it is free, or put the job in "
        "line with `edgefarm submit`"
    )
