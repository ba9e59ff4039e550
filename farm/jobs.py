"""Jobs: submit, status, cancel, results, watch. All of it is the database; no worker is needed."""

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from farm.database import Database, now
from farm.devices import known_devices
from farm.endings import close_job, end_parts, settle_dependents
from farm.events import Event, add_event, read_events
from farm.job import JobRequest, parse_request
from farm.quota import Quota, check_quota
from farm.selection import Selector
from farm.tables import JOBS, PARTS, RUNS
from harness.errors import NoDevice, NotYours, UsageError
from harness.records import Outcome, Run, parse_run

_POLL_S = 0.5


@dataclass(frozen=True)
class PartStatus:
    """One device's share of a job.

    Attributes:
        id: of the part.
        state: waiting (for another job), ready (in line), running or done.
        device: that it runs or ran on; None before.
        attempt: how often it was started.
        outcome: how it ended.
        failure: kind of the error that ended it, e.g. ``TransportError``.
        message: why it is not PASS, or why it was last put back in line.
        run: id of its result.
        started, ended: seconds since 1970; None before.
    """

    id: str
    state: str
    device: str | None
    attempt: int
    outcome: Outcome | None
    failure: str | None
    message: str
    run: str | None
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands.

    Attributes:
        id: of the job.
        state: queued, running or done.
        outcome: the worst of its parts', when done.
        created, ended: seconds since 1970.
        request: what was submitted.
        parts: one for each device.
    """

    id: str
    state: str
    outcome: Outcome | None
    created: float
    ended: float | None
    request: JobRequest
    parts: tuple[PartStatus, ...]


def submit(
    database: Database,
    request: JobRequest,
    *,
    job_id: str | None = None,
    quota: Quota | None = None,
) -> str:
    """Put a job in line.

    The same content submitted again by the same submitter, while a job of it is live, is that job;
    others have a job of their own. The same `job_id` is that
    job for ever, so a submit can be repeated.

    Args:
        database: the farm's.
        request: what to do.
        job_id: of the submitter's choice; None for a new one.
        quota: what the submitter may have in line; None for any amount.

    Returns:
        The job's id.

    Raises:
        NoDevice: fewer registered devices match than are asked for.
        OverQuota: it is more than the quota allows.
        UsageError: `depends_on` names no job, or `job_id` names another one, or somebody else's.
    """
    content, preparation = request.content(), request.preparation()
    for _ in range(3):
        try:
            with database.begin() as connection:
                found = _same_job(connection, content, request.submitter, job_id)
                return found or _insert(
                    connection, request, content, preparation, job_id=job_id, quota=quota
                )
        except IntegrityError:
            continue  # another submit of the same was faster
    raise UsageError(f"job {job_id}: it is being submitted by somebody else just now; try again")


def _same_job(
    connection: sa.Connection, content: str, submitter: str, job_id: str | None
) -> str | None:
    if job_id is not None:
        query = sa.select(JOBS.c.content, JOBS.c.submitter).where(JOBS.c.id == job_id)
        known = connection.execute(query).one_or_none()
        if known is not None and known.submitter != submitter:
            owner = known.submitter
            raise NotYours(f"job {job_id} belongs to {owner!r}, and you are {submitter!r}")
        if known is not None and known.content != content:
            raise UsageError(f"job {job_id}: there is one of this id with another content")
        if known is not None:
            return job_id
    query = sa.select(JOBS.c.id).where(JOBS.c.content == content, JOBS.c.state == "live")
    return connection.execute(query.where(~JOBS.c.cancelled)).scalar_one_or_none()


def _insert(
    connection: sa.Connection,
    request: JobRequest,
    content: str,
    preparation: str,
    *,
    job_id: str | None,
    quota: Quota | None,
) -> str:
    job = job_id or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    selectors = _of_each_part(connection, request.choice())
    if quota is not None:
        check_quota(connection, request, len(selectors), quota)
    depends_on = request.depends_on
    if depends_on is not None:
        query = sa.select(JOBS.c.id).where(JOBS.c.id == depends_on)
        if connection.execute(query).one_or_none() is None:
            raise UsageError(f"depends_on {depends_on!r}: no such job")
    connection.execute(
        JOBS.insert().values(
            id=job,
            created=now(),
            request=request.model_dump_json(),
            content=content,
            preparation=preparation,
            depends_on=depends_on,
            submitter=request.submitter,
        )
    )
    connection.execute(
        PARTS.insert(),
        [
            {
                "id": f"{job}.{number}",
                "job": job,
                "sequence": time.time_ns(),
                "priority": request.priority,
                "selector": selector.of_one,
                "preparation": preparation,
                "state": "ready" if depends_on is None else "waiting",
            }
            for number, selector in enumerate(selectors)
        ],
    )
    add_event(connection, "submitted", request.submitter, job=job)
    if depends_on is not None:
        settle_dependents(connection, depends_on)
    return job


def _of_each_part(connection: sa.Connection, selector: Selector) -> list[Selector]:
    known = known_devices(connection)
    names = [one.device.name for one in known if selector.matches(one.device, one.host)]
    if len(names) < (selector.count or 1):
        there = ", ".join(one.device.name for one in known) or "none"
        raise NoDevice(
            f"{selector} asks for {selector.count or 'at least 1'} device(s), {len(names)} match; "
            f"there are: {there}; see `edgefarm device list`"
        )
    if selector.count is None:
        return [replace(selector, name=name) for name in names]
    return [selector] * selector.count


def status(database: Database, job: str) -> JobStatus:
    """How a job stands.

    Raises:
        UsageError: there is no such job.
    """
    found = _statuses(database, JOBS.c.id == job)
    if not found:
        raise UsageError(f"job {job!r}: there is none of this id; see `edgefarm status`")
    return found[0]


def recent_jobs(
    database: Database, *, limit: int = 50, submitter: str | None = None
) -> list[JobStatus]:
    """The newest jobs, of one submitter or of all, newest first."""
    newest = sa.select(JOBS.c.id).order_by(JOBS.c.created.desc()).limit(limit)
    if submitter is not None:
        newest = newest.where(JOBS.c.submitter == submitter)
    return _statuses(database, JOBS.c.id.in_(newest))


def _statuses(database: Database, which: sa.ColumnElement[bool]) -> list[JobStatus]:
    with database.begin() as connection:
        query = sa.select(JOBS).where(which).order_by(JOBS.c.created.desc())
        jobs = connection.execute(query).all()
        query = (
            sa.select(PARTS, RUNS.c.id.label("run"))
            .outerjoin(RUNS, RUNS.c.part == PARTS.c.id)
            .where(PARTS.c.job.in_([job.id for job in jobs]))
            .order_by(PARTS.c.sequence, PARTS.c.id)
        )
        parts: dict[str, list[PartStatus]] = {}
        for row in connection.execute(query):
            parts.setdefault(row.job, []).append(_part_status(row))
    return [
        JobStatus(
            id=job.id,
            state=_state(job.state, parts[job.id]),
            outcome=None if job.outcome is None else Outcome(job.outcome),
            created=job.created,
            ended=job.ended,
            request=parse_request(job.request),
            parts=tuple(parts[job.id]),
        )
        for job in jobs
    ]


def _part_status(row: sa.Row[*tuple[Any, ...]]) -> PartStatus:
    return PartStatus(
        id=row.id,
        state=row.state,
        device=row.device,
        attempt=row.attempt,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        failure=row.failure,
        message=row.message,
        run=row.run,
        started=row.started,
        ended=row.ended,
    )


def _state(stored: str, parts: Sequence[PartStatus]) -> str:
    if stored == "done":
        return "done"
    return "running" if any(part.state in {"running", "done"} for part in parts) else "queued"


def cancel(database: Database, job: str, *, by: str = "", operator: bool = False) -> bool:
    """End a job: what is in line at once, what runs as soon as its worker hears of it.

    Args:
        database: the farm's.
        job: its id.
        by: who asks; it is kept with the job's events. Nobody may end nobody's jobs only.
        operator: may end what others have submitted.

    Returns:
        False when it had ended already.

    Raises:
        UsageError: there is no such job.
        NotYours: it is somebody else's.
    """
    owner = status(database, job).request.submitter
    if owner not in ("", by) and not operator:
        raise NotYours(
            f"job {job} belongs to {owner!r}, and you are {by!r}; only {owner!r} or an operator of "
            "the farm may end it"
        )
    with database.begin() as connection:
        changed = connection.execute(
            JOBS.update().where(JOBS.c.id == job, JOBS.c.state == "live").values(cancelled=True)
        ).rowcount
        if changed:
            add_event(connection, "cancelled", f"by {by}" if by else "", job=job)
            waiting = (PARTS.c.job == job, PARTS.c.state.in_(("waiting", "ready")))
            ids = connection.execute(sa.select(PARTS.c.id).where(*waiting)).scalars().all()
            end_parts(connection, ids, Outcome.CANCELLED, None, "cancelled")
            close_job(connection, job)
    return bool(changed)


def results(database: Database, job: str) -> list[Run]:
    """The accepted runs of a job; parts that ended without one are told by `status` alone.

    Raises:
        UsageError: there is no such job.
    """
    status(database, job)
    query = sa.select(RUNS.c.document).where(RUNS.c.job == job).order_by(RUNS.c.part)
    with database.begin() as connection:
        documents = connection.execute(query).scalars().all()
    return [parse_document(one, where=f"job {job}") for one in documents]


def parse_document(document: bytes, *, where: str) -> Run:
    """A run as the table keeps it; ModelError when it is broken."""
    return parse_run(zlib.decompress(document), where=where)


def watch(
    database: Database, job: str, *, after: int = 0, poll_s: float = _POLL_S
) -> Iterator[Event]:
    """The events of a job as they happen, until it is done.

    Args:
        database: the farm's.
        job: its id.
        after: the last event that was seen.
        poll_s: how often the database is asked.

    Raises:
        UsageError: there is no such job.
    """
    while True:
        done = status(database, job).state == "done"
        for event in read_events(database, job, after=after):
            after = event.id
            yield event
        if done:
            return
        time.sleep(poll_s)
