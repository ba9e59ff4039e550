"""A night: submit every job of a plan, wait for the farm, sum up. Safe to do again after a crash:
the jobs of a night have its name, and a job of the same name is the same job."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from farm import jobs
from farm.database import Database
from farm.devices import Known, known_devices
from farm.job import JobRequest
from farm.job_files import share
from farm.jobs import JobStatus
from farm.nightly.plan import Plan
from farm.nightly.summary import Row, Summary
from farm.queue import this_user
from farm.selection import parse_selector
from farm.tables import PARTS, WORKERS
from harness.errors import NoDevice, UsageError
from harness.host.wording import told_apart
from harness.records import Outcome

JOB_PREFIX = "nightly-"
"""Of the id of every job of a night; the night and a number follow."""

_POLL_S = 2.0
_HOPEFUL = ("healthy", "suspect")
"""Health of devices that may yet take a job; the others wait for a probe or a person."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Submitted:
    """A job of a night, or why there is none."""

    request: JobRequest
    job: str | None
    refusal: str = ""


def submit_night(database: Database, plan: Plan, night: str) -> list[Submitted]:
    """Put all jobs in line; those that were before stay."""
    asked, _ = plan.jobs(f"nightly {night}")
    submitted = []
    for number, request in enumerate(asked):
        try:
            mine = share(database, request.model_copy(update={"submitter": this_user()}))
            job = jobs.submit(database, mine, job_id=f"{JOB_PREFIX}{night}-{number}")
            submitted.append(Submitted(request, job))
        except (NoDevice, UsageError) as error:
            submitted.append(Submitted(request, None, str(error)))
    return submitted


def wait_for_night(
    database: Database,
    plan: Plan,
    ids: Sequence[str],
    *,
    say: Say = lambda _: None,
    poll_s: float = _POLL_S,
) -> dict[str, str]:
    """Wait until all jobs are done; end those that no device will take, or that come too late.

    Returns:
        By job, why it was ended here.
    """
    deadline = time.monotonic() + plan.nightly.time_limit_s
    stranded_since: dict[str, float] = {}
    ended: dict[str, str] = {}
    pending = list(ids)
    if pending and no_worker(database):
        say("no worker serves the farm yet: start one with `edgefarm worker`")
    while True:
        pending = [job for job in pending if not _is_done(database, job, say)]
        if not pending:
            return ended
        late = time.monotonic() >= deadline
        for job in pending:
            why = _no_hope(database, job)
            since = stranded_since.setdefault(job, time.monotonic())
            if not why:
                stranded_since.pop(job)
            if late:
                why = f"not done within the night's {plan.nightly.time_limit_s:g} s"
            elif not why or time.monotonic() - since < plan.nightly.stranded_s:
                continue
            if job not in ended:
                ended[job] = why
                jobs.cancel(database, job, by=this_user())
                say(f"{job}: ended: {why}")
        time.sleep(poll_s)


def sum_up(
    database: Database,
    plan: Plan,
    night: str,
    submitted: Sequence[Submitted],
    *,
    ended: dict[str, str],
    seconds: float,
) -> Summary:
    """The rows of a night that is done."""
    names = told_apart(_recipe(one.request) for one in submitted)
    rows = [row for one in submitted for row in _rows(database, one, names, ended)]
    _, left_out = plan.jobs(night)
    notes = tuple(f"left out: {one}" for one in left_out)
    return Summary(plan.nightly.name, night, seconds, tuple(rows), notes)


def run_night(
    database: Database,
    plan: Plan,
    night: str,
    *,
    say: Say = lambda _: None,
    poll_s: float = _POLL_S,
) -> Summary:
    """Submit, wait, sum up."""
    started = time.monotonic()
    submitted = submit_night(database, plan, night)
    ids = [one.job for one in submitted if one.job is not None]
    say(f"night {night}: {len(ids)} jobs")
    ended = wait_for_night(database, plan, ids, say=say, poll_s=poll_s)
    return sum_up(database, plan, night, submitted, ended=ended, seconds=time.monotonic() - started)


def no_worker(database: Database) -> bool:
    """Whether no worker has entered itself."""
    with database.begin() as connection:
        return connection.execute(sa.select(WORKERS.c.host).limit(1)).first() is None


def _is_done(database: Database, job: str, say: Say) -> bool:
    standing = jobs.status(database, job)
    if standing.state == "done":
        say(f"{job}: {standing.outcome}")
    return standing.state == "done"


def _no_hope(database: Database, job: str) -> str:
    """Why no device will take what is left of a job; empty while one may, or works on it."""
    with database.begin() as connection:
        query = sa.select(PARTS.c.selector, PARTS.c.state)
        left = connection.execute(query.where(PARTS.c.job == job, PARTS.c.state != "done")).all()
        known = known_devices(connection)
    reasons = []
    for selector, state in left:
        matching = [one for one in known if parse_selector(selector).matches(one.device, one.host)]
        if state == "running" or any(one.health in _HOPEFUL for one in matching):
            return ""
        reasons += [_unfit(one) for one in matching] or [f"no device is {selector} any more"]
    return "; ".join(dict.fromkeys(reasons))


def _unfit(known: Known) -> str:
    return f"{known.device.name} is {known.health}" + (f" ({known.cause})" if known.cause else "")


def _recipe(request: JobRequest) -> tuple[str, str]:
    """Name and digest; empty for a model that came quantized."""
    recipe = request.recipe
    return (recipe.name, recipe.digest()) if recipe else ("", "")


def _rows(
    database: Database,
    one: Submitted,
    names: Mapping[tuple[str, str], str],
    ended: dict[str, str],
) -> list[Row]:
    request = one.request
    row = Row(
        model=request.model,
        recipe=names[_recipe(request)],
        target=request.target,
        device=None,
        outcome=Outcome.ERROR,
        message=one.refusal,
        job=one.job,
        run=None,
        seconds=None,
    )
    if one.job is None:
        return [row]
    standing: JobStatus = jobs.status(database, one.job)
    return [
        replace(
            row,
            device=part.device,
            outcome=part.outcome or Outcome.ERROR,
            message=ended.get(one.job, part.message)
            if part.outcome is Outcome.CANCELLED
            else part.message,
            run=part.run,
            seconds=None
            if part.started is None or part.ended is None
            else part.ended - part.started,
        )
        for part in standing.parts
    ]
