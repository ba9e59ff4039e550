"""Avoiding: a device or a lab host that failed a part is left out for a while."""

import sqlalchemy as sa

from farm.database import now
from farm.devices import known_devices
from farm.endings import lock_job
from farm.events import add_event
from farm.job import parse_request
from farm.selection import parse_selector
from farm.tables import JOBS, PARTS

RETRY_AFTER_S = 1.0
AVOID_S = 60.0


def avoided_host(host: str) -> str:
    """How `avoid` names a whole lab host."""
    return f"host {host}"


def to_avoid(connection: sa.Connection, part: str, device: str, *, hosts: bool) -> str | None:
    """The device, or its lab host, that a part shall not get for a while; None where there is no
    other healthy one."""
    query = sa.select(PARTS.c.selector, PARTS.c.host).where(PARTS.c.id == part)
    asked = connection.execute(query).one()
    if hosts:
        other = has_other_host(connection, asked.selector, asked.host)
        return avoided_host(asked.host) if other else None
    selector = parse_selector(asked.selector)
    found = any(
        one.health == "healthy"
        and one.device.name != device
        and selector.matches(one.device, one.host)
        for one in known_devices(connection)
    )
    return device if found else None


def has_other_host(connection: sa.Connection, selector: str, host: str) -> bool:
    """Whether a healthy device of another lab host matches."""
    wanted = parse_selector(selector)
    return any(
        one.health == "healthy" and one.host != host and wanted.matches(one.device, one.host)
        for one in known_devices(connection)
    )


def put_off(connection: sa.Connection, preparation: str, host: str, cause: str) -> list[str]:
    """Count a failure of a lab host that could not make an artifact, and leave the parts that need
    it to another one, if there is one.

    Returns:
        The parts that have no attempt left; they are as they were.
    """
    query = (
        sa.select(PARTS.c.id, PARTS.c.job, PARTS.c.selector, PARTS.c.failures, JOBS.c.request)
        .join(JOBS, JOBS.c.id == PARTS.c.job)
        .where(PARTS.c.preparation == preparation, PARTS.c.state.in_(("waiting", "ready")))
        .order_by(PARTS.c.id)
    )
    spent = []
    for part in connection.execute(query).all():
        if part.failures + 1 >= parse_request(part.request).attempts:
            spent.append(part.id)
            continue
        lock_job(connection, part.job)
        other = has_other_host(connection, part.selector, host)
        connection.execute(
            PARTS.update()
            .where(PARTS.c.id == part.id, PARTS.c.state.in_(("waiting", "ready")))
            .values(
                failures=PARTS.c.failures + 1,
                not_before=now() + RETRY_AFTER_S,
                avoid=avoided_host(host) if other else None,
                message=cause,
            )
        )
        add_event(connection, "retried", cause, job=part.job, part=part.id)
    return spent


def may_be_taken_on(host: str) -> sa.ColumnElement[bool]:
    """Of parts: that they may start now, as far as the lab host is concerned."""
    return (PARTS.c.not_before <= now()) & (
        PARTS.c.avoid.is_(None)
        | (PARTS.c.avoid != avoided_host(host))
        | (PARTS.c.not_before < now() - AVOID_S)
    )
