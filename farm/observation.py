"""Observations of a device, written to its row: guarded, and logged with their cause."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa

from farm.database import Database, now
from farm.faults import Fault
from farm.health import Health, State, after_fault
from farm.tables import DEVICES, HEALTH_LOG
from harness.errors import UsageError

_NEVER = 1e12


@dataclass(frozen=True)
class Change:
    """One transition of a device's health."""

    at: float
    device: str
    before: str
    after: str
    cause: str


def observe(
    connection: sa.Connection,
    device: str,
    change: Callable[[Health], Health],
    *,
    seen: bool = False,
) -> Health:
    """Put a device's health through a function of `farm.health`.

    Args:
        connection: of a transaction.
        device: name.
        change: from the health as it is to what it becomes.
        seen: the device has answered.

    Raises:
        UsageError: there is no such device.
    """
    query = sa.select(DEVICES).where(DEVICES.c.name == device).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UsageError(f"device {device!r}: not in the farm's database")
    before = Health(cast(State, row.health), row.cause, row.failed_probes, row.numeric_probes, None)
    after = change(before)
    values: dict[str, object] = {"last_seen": now()} if seen else {}
    if after is not before:
        values |= {
            "health": after.state,
            "cause": after.cause,
            "failed_probes": after.failed_probes,
            "numeric_probes": after.numeric_probes,
            "next_probe": _NEVER if after.probe_in_s is None else now() + after.probe_in_s,
        }
    if before.state != after.state:
        values["health_since"] = now()
    if not values:
        return after
    changed = connection.execute(
        DEVICES.update()
        .where(DEVICES.c.name == device, DEVICES.c.health == before.state)
        .values(**values)
    ).rowcount
    if changed and before.state != after.state:
        connection.execute(
            HEALTH_LOG.insert().values(
                at=now(), device=device, before=before.state, after=after.state, cause=after.cause
            )
        )
    return after


def note_fault(connection: sa.Connection, device: str, fault: Fault) -> Health:
    """Whoever used a device, a job or a test, met a fault: jobs wait until a probe has tried it.

    Raises:
        UsageError: there is no such device.
    """
    return observe(connection, device, lambda known: after_fault(known, fault))


def order(database: Database, device: str, health: Health) -> None:
    """A person's order.

    Raises:
        UsageError: there is no such device.
    """
    with database.begin() as connection:
        observe(connection, device, lambda _: health)


def health_changes(database: Database, device: str | None = None, limit: int = 50) -> list[Change]:
    """The newest transitions, of one device or of all, newest first."""
    query = sa.select(HEALTH_LOG).order_by(HEALTH_LOG.c.id.desc()).limit(limit)
    if device is not None:
        query = query.where(HEALTH_LOG.c.device == device)
    with database.begin() as connection:
        return [
            Change(row.at, row.device, row.before, row.after, row.cause)
            for row in connection.execute(query)
        ]
