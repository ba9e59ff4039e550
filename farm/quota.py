"""Quota: how much of the farm one submitter may have in line at a time, and send within a day."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from farm.database import Database, now
from farm.job import JobRequest
from farm.tables import JOBS, PARTS, TOKENS, UPLOADS
from harness.errors import OverQuota

_DAY_S = 86400.0


@dataclass(frozen=True)
class Quota:
    """What one submitter may ask for; what is over is refused, not cut.

    Attributes:
        parts: of live jobs; a job has one for each device it asks for.
        priority: the highest.
        attempt_s: time limit of one attempt.
        device_s: time that all parts of live jobs may take, every attempt used to its limit.
    """

    parts: int = 1000
    priority: int = 0
    attempt_s: float = 6 * 3600.0
    device_s: float = 3000 * 3600.0


def check_quota(connection: sa.Connection, request: JobRequest, parts: int, quota: Quota) -> None:
    """Raise OverQuota when a job of so many parts, put in line now, were more than is allowed."""
    asked = (
        ("priority", request.priority, quota.priority),
        ("time_limit_s", request.time_limit_s, quota.attempt_s),
    )
    for name, value, most in asked:
        if value > most:
            raise OverQuota(
                f"{name} {value}: this farm allows {most:g} at most; more is for operators"
            )
    # Two submits of one token come after one another: both would find room for the last part.
    named = sa.select(TOKENS.c.id).where(TOKENS.c.name == request.submitter)
    connection.execute(named.with_for_update()).all()
    live = (
        sa.select(JOBS.c.request, sa.func.count())
        .join(PARTS, PARTS.c.job == JOBS.c.id)
        .where(JOBS.c.submitter == request.submitter, PARTS.c.state != "done")
        .group_by(JOBS.c.id, JOBS.c.request)
    )
    held, held_s = parts, parts * request.time_limit_s * request.attempts
    for text, count in connection.execute(live):
        stored = json.loads(text)
        held += count
        held_s += count * stored["time_limit_s"] * stored["attempts"]
    said = f"{request.submitter}: with this job"
    if held > quota.parts:
        raise OverQuota(f"{said}, {held} parts are not done; allowed: {quota.parts}; wait for some")
    if held_s > quota.device_s:
        raise OverQuota(
            f"{said}, what is not done may take {held_s / 3600:.0f} hours of devices; allowed: "
            f"{quota.device_s / 3600:g}; wait for some, or give a shorter time_limit_s"
        )


def count_sent(database: Database, submitter: str, size: int) -> None:
    """Write down that a submitter sent so many bytes, and forget what is older than a day."""
    if not size:
        return
    with database.begin() as connection:
        connection.execute(UPLOADS.delete().where(UPLOADS.c.at < now() - _DAY_S))
        connection.execute(UPLOADS.insert().values(at=now(), submitter=submitter, bytes=size))


def sent_within_a_day(database: Database, submitter: str) -> int:
    """Bytes that a submitter sent in the last 24 hours, whichever server took them."""
    lately = (UPLOADS.c.submitter == submitter) & (UPLOADS.c.at > now() - _DAY_S)
    query = sa.select(sa.func.coalesce(sa.func.sum(UPLOADS.c.bytes), 0)).where(lately)
    with database.begin() as connection:
        return int(connection.execute(query).scalar_one())
