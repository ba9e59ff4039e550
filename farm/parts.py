"""Parts: what a job does on one device. Every change of state is one guarded transaction.

::

    waiting ─► ready ─► running ─► done
                 ▲         │
                 └─────────┘  the machine failed, or the worker and its lease were lost

A part is running exactly as long as its device's lease holds; `attempt` rises with every start, so
what an earlier attempt brings is not accepted any more.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from farm.avoiding import AVOID_S, RETRY_AFTER_S, avoided_host, to_avoid
from farm.database import Database, distinct_values, now
from farm.devices import Known
from farm.endings import close_job, end_parts, is_cancelled, lock_job
from farm.events import add_event
from farm.job import JobRequest, parse_request
from farm.leases import TTL_S, Lease, release, take
from farm.selection import parse_selector
from farm.tables import DEVICES, JOBS, PARTS, PREPARATIONS, RUNS
from harness.records import Failure, Outcome, Run, dump_run

MOST_LOSSES = 10
"""So often may the worker under a part be lost before the part is given up."""


@dataclass(frozen=True)
class Claimed:
    """A part that a worker may run now.

    Attributes:
        part, job: ids.
        attempt: which start of the part this is.
        failures: how many earlier ones ended by the machine's fault.
        differences: how many of these computed something else than they should.
        refusals: how many of these ended because the device refused the model.
        request: what to do.
        lease: of the device.
    """

    part: str
    job: str
    attempt: int
    failures: int
    differences: int
    refusals: int
    request: JobRequest
    lease: Lease


def ready_selectors(connection: sa.Connection) -> list[str]:
    """What the ready parts ask for, each spelling once."""
    return list(connection.execute(_READY_SELECTORS).scalars())


_READY_SELECTORS = distinct_values(PARTS.c.selector, PARTS.c.state == "ready")


def matching(selectors: Sequence[str], known: Known, host: str) -> list[str]:
    """Those of the selectors that choose a device."""
    return [text for text in selectors if parse_selector(text).matches(known.device, host)]


def claim(
    connection: sa.Connection,
    device: str,
    host: str,
    selectors: Sequence[str],
    holder: str,
    *,
    ttl_s: float = TTL_S,
) -> Claimed | None:
    """Take a free device and the first part in line for it; None when there is none.

    Args:
        connection: of a transaction; without a claim there is nothing to commit.
        device: name of the device.
        host: the lab host that it is attached to, which has the artifact.
        selectors: those that choose the device, see `matching`.
        holder: of the lease.
        ttl_s: of the lease.
    """
    candidates = [_first_in_line(connection, device, host, text) for text in selectors]
    found = [row for row in candidates if row is not None]
    if not found:
        return None
    best = min(found, key=lambda row: (-row.priority, row.sequence))
    lease = take(connection, device, holder, ttl_s=ttl_s)
    if lease is None:
        return None
    statement = (
        PARTS.update()
        .where(PARTS.c.id == best.id, PARTS.c.state == "ready")
        .values(
            state="running",
            attempt=PARTS.c.attempt + 1,
            device=device,
            token=lease.token,
            host=host,
            started=now(),
        )
        .returning(
            PARTS.c.attempt, PARTS.c.failures, PARTS.c.differences, PARTS.c.refusals, PARTS.c.job
        )
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        release(connection, lease)
        return None
    request = connection.execute(sa.select(JOBS.c.request).where(JOBS.c.id == row.job)).scalar_one()
    add_event(
        connection, "started", f"attempt {row.attempt} on {device}",
        job=row.job, part=best.id, device=device,
    )  # fmt: skip
    counts = (row.attempt, row.failures, row.differences, row.refusals)
    return Claimed(best.id, row.job, *counts, parse_request(request), lease)


def _first_in_line(
    connection: sa.Connection, device: str, host: str, selector: str
) -> sa.Row[str, int, int] | None:
    """The first ready part of a selector that is prepared on the host, may start now, was not
    just failed by this device, and has no sibling on it."""
    values = {"on": device, "lab": host, "avoided": avoided_host(host), "wanted": selector}
    found: sa.Row[str, int, int] | None = connection.execute(_FIRST, values).one_or_none()
    return found


_SIBLING = PARTS.alias()
_FIRST = (  # put together once: that takes longer than to run it
    sa.select(PARTS.c.id, PARTS.c.priority, PARTS.c.sequence)
    .where(
        PARTS.c.state == "ready",
        PARTS.c.selector == sa.bindparam("wanted"),
        PARTS.c.not_before <= now(),
        PARTS.c.avoid.is_(None)
        | PARTS.c.avoid.not_in((sa.bindparam("on"), sa.bindparam("avoided")))
        | (PARTS.c.not_before < now() - AVOID_S),
        sa.exists().where(
            PREPARATIONS.c.key == PARTS.c.preparation,
            PREPARATIONS.c.host == sa.bindparam("lab"),
            PREPARATIONS.c.state == "done",
        ),
        ~sa.exists().where(
            _SIBLING.c.job == PARTS.c.job,
            _SIBLING.c.id != PARTS.c.id,
            _SIBLING.c.device == sa.bindparam("on"),
            _SIBLING.c.state.in_(("running", "done")),
        ),
    )
    .order_by(PARTS.c.priority.desc(), PARTS.c.sequence)
    .limit(1)
    .with_for_update(skip_locked=True, of=PARTS)
)


def current(connection: sa.Connection, part: str, attempt: int, holder: str) -> Claimed | None:
    """A part that a holder still runs, with the lease as it is now; None when it does not."""
    query = (
        sa.select(
            PARTS.c.job,
            PARTS.c.failures,
            PARTS.c.differences,
            PARTS.c.refusals,
            PARTS.c.device,
            PARTS.c.token,
            JOBS.c.request,
        )
        .join(JOBS, JOBS.c.id == PARTS.c.job)
        .join(DEVICES, (DEVICES.c.name == PARTS.c.device) & (DEVICES.c.token == PARTS.c.token))
        .where(
            PARTS.c.id == part,
            PARTS.c.state == "running",
            PARTS.c.attempt == attempt,
            DEVICES.c.holder == holder,
        )
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    lease = Lease(row.device, row.token, holder)
    counts = (attempt, row.failures, row.differences, row.refusals)
    return Claimed(part, row.job, *counts, parse_request(row.request), lease)


def accept(connection: sa.Connection, claimed: Claimed, run: Run) -> bool:
    """Make a run the part's result and give the device back.

    Returns:
        False when the part is not this attempt's any more: the result is thrown away.
    """
    failure = run.failure or Failure("", "; ".join(run.reasons))
    return _end_attempt(
        connection,
        claimed,
        "ended",
        f"{run.outcome}: {failure.message}" if failure.message else str(run.outcome),
        {
            "state": "done",
            "ended": now(),
            "outcome": run.outcome,
            "failure": failure.kind or None,
            "message": failure.message,
        },
        run=run,
    )


def retry(
    connection: sa.Connection,
    claimed: Claimed,
    cause: str,
    *,
    elsewhere: bool,
    numeric: bool = False,
    refused: bool = False,
    hosts: bool = False,
) -> bool:
    """Put a part back in line after a failed attempt and give the device back.

    Args:
        connection: of a transaction.
        claimed: the attempt that failed.
        cause: why, in words.
        elsewhere: leave it to another device for a while, if there is one.
        numeric: the device computed something else than it should.
        refused: the device refused the model.
        hosts: the lab host is at fault: leave it to another one, if there is one.
    """
    values: dict[str, object] = {
        "state": "ready",
        "failures": PARTS.c.failures + 1,
        "differences": PARTS.c.differences + int(numeric),
        "refusals": PARTS.c.refusals + int(refused),
        "not_before": now() + RETRY_AFTER_S,
        "avoid": to_avoid(connection, claimed.part, claimed.lease.device, hosts=hosts)
        if elsewhere or hosts
        else None,
        "device": None,
        "message": cause,
    }
    return _end_attempt(connection, claimed, "retried", cause, values)


def note_loss(connection: sa.Connection, claimed: Claimed, why: str) -> None:
    """Keep why an attempt lost its device; its part goes back in line when the lease expires."""
    changed = connection.execute(
        PARTS.update()
        .where(PARTS.c.id == claimed.part, PARTS.c.state == "running")
        .where(PARTS.c.attempt == claimed.attempt)
        .values(message=why)
    ).rowcount
    if changed:
        device = claimed.lease.device
        add_event(connection, "taken", why, job=claimed.job, part=claimed.part, device=device)


def _end_attempt(
    connection: sa.Connection,
    claimed: Claimed,
    kind: str,
    message: str,
    values: dict[str, object],
    *,
    run: Run | None = None,
) -> bool:
    document = zlib.compress(dump_run(run)) if run is not None else b""  # before any lock
    lock_job(connection, claimed.job)
    statement = (
        PARTS.update()
        .where(
            PARTS.c.id == claimed.part,
            PARTS.c.state == "running",
            PARTS.c.attempt == claimed.attempt,
            sa.exists().where(DEVICES.c.name == PARTS.c.device, DEVICES.c.token == PARTS.c.token),
        )
        .values(**values)
    )
    if connection.execute(statement).rowcount == 0:
        return False
    if run is not None:
        connection.execute(
            RUNS.insert().values(
                part=claimed.part, id=run.id, job=claimed.job, at=now(), document=document
            )
        )
    device = claimed.lease.device
    add_event(connection, kind, message, job=claimed.job, part=claimed.part, device=device)
    release(connection, claimed.lease)
    close_job(connection, claimed.job)
    return True


def take_back(database: Database) -> list[str]:
    """Free devices whose lease is over, and put their parts back in line: whoever held them was
    killed, or hung too long. One transaction each, so that none waits for another in a circle.

    Returns:
        The parts. Anybody may call this at any time.
    """
    with database.begin() as connection:
        connection.execute(
            DEVICES.update()
            .where(DEVICES.c.lease_expires < now())
            .values(holder=None, lease_expires=None)
        )
    query = sa.select(PARTS.c.id, PARTS.c.job, PARTS.c.attempt, PARTS.c.device).where(
        PARTS.c.state == "running", ~_HELD
    )
    with database.begin() as connection:
        lost = connection.execute(query).all()
    taken = []
    for part, job, attempt, device in lost:
        with database.begin() as connection:
            if _take_back(connection, part, job, attempt, device):
                taken.append(part)
    return taken


_HELD = sa.exists().where(
    DEVICES.c.name == PARTS.c.device,
    DEVICES.c.token == PARTS.c.token,
    DEVICES.c.holder.is_not(None),
    DEVICES.c.lease_expires > now(),
)


def _take_back(connection: sa.Connection, part: str, job: str, attempt: int, device: str) -> bool:
    lock_job(connection, job)
    changed = connection.execute(
        PARTS.update()
        .where(PARTS.c.id == part, PARTS.c.state == "running", PARTS.c.attempt == attempt, ~_HELD)
        .values(state="ready", device=None)
        .returning(PARTS.c.failures, PARTS.c.message)
    ).one_or_none()
    if changed is None:
        return False
    message = "the worker or its lease was lost"
    add_event(connection, "lost", message, job=job, part=part, device=device)
    if attempt - changed.failures > MOST_LOSSES:
        message = f"given up: {MOST_LOSSES} times the worker or its lease was lost"
        message += f"; last: {changed.message}" if changed.message else ""
        end_parts(connection, [part], Outcome.ERROR, "WorkerLost", message)
    elif is_cancelled(connection, job):
        end_parts(connection, [part], Outcome.CANCELLED, None, "cancelled")
    return True
