"""Endings: parts that end without a run, their jobs, and the jobs that depend on these."""

from collections.abc import Sequence

import sqlalchemy as sa

from farm.database import now
from farm.events import add_event
from farm.tables import JOBS, PARTS
from harness.records import Outcome

_WORST_FIRST = (
    Outcome.ERROR, Outcome.TIMEOUT, Outcome.FAIL, Outcome.CANCELLED, Outcome.WARN, Outcome.PASS,
)  # fmt: skip


def end_parts(
    connection: sa.Connection,
    parts: Sequence[str],
    outcome: Outcome,
    failure: str | None,
    message: str,
) -> None:
    """End parts that are not running, without a run; those that have begun meanwhile stay."""
    for part in sorted(parts):  # in one order: two that end the same ones wait, not for ever
        lock_job(connection, part.rpartition(".")[0])
        row = connection.execute(
            PARTS.update()
            .where(PARTS.c.id == part, PARTS.c.state.in_(("waiting", "ready")))
            .values(state="done", ended=now(), outcome=outcome, failure=failure, message=message)
            .returning(PARTS.c.job)
        ).one_or_none()
        if row is not None:
            add_event(connection, "ended", f"{outcome}: {message}", job=row.job, part=part)
            close_job(connection, row.job)


def close_job(connection: sa.Connection, job: str) -> None:
    """End a job whose parts are all done, and let those that depend on it go on or end."""
    lock_job(connection, job)
    states = connection.execute(
        sa.select(PARTS.c.state, PARTS.c.outcome).where(PARTS.c.job == job)
    ).all()
    if any(state != "done" for state, _ in states):
        return
    outcome = min((Outcome(one) for _, one in states), key=_WORST_FIRST.index)
    ended = connection.execute(
        JOBS.update()
        .where(JOBS.c.id == job, JOBS.c.state == "live")
        .values(state="done", ended=now(), outcome=outcome)
    ).rowcount
    if ended:
        settle_dependents(connection, job)


def settle_dependents(connection: sa.Connection, job: str) -> None:
    """Parts that wait for a job: ready when it has passed, ended when it has not."""
    lock_job(connection, job)
    outcome = connection.execute(
        sa.select(JOBS.c.outcome).where(JOBS.c.id == job, JOBS.c.state == "done")
    ).scalar_one_or_none()
    if outcome is None:
        return
    dependents = sa.select(JOBS.c.id).where(JOBS.c.depends_on == job, JOBS.c.state == "live")
    waiting = (PARTS.c.job.in_(dependents), PARTS.c.state == "waiting")
    if outcome == Outcome.PASS:
        connection.execute(PARTS.update().where(*waiting).values(state="ready"))
        return
    ids = connection.execute(sa.select(PARTS.c.id).where(*waiting)).scalars().all()
    end_parts(connection, ids, Outcome.CANCELLED, None, f"job {job} ended {outcome}")


def lock_job(connection: sa.Connection, job: str) -> None:
    """Let the changes of a job's parts happen one after the other; SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(JOBS.c.id).where(JOBS.c.id == job).with_for_update())


def is_cancelled(connection: sa.Connection, job: str) -> bool:
    """Whether somebody has cancelled a job."""
    query = sa.select(JOBS.c.cancelled).where(JOBS.c.id == job)
    return bool(connection.execute(query).scalar_one_or_none())
