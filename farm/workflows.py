"""The durable workflows of a worker (DBOS): the preparation of an artifact, and a part of a job.

A workflow's steps are written to the database as they end. A worker that was killed goes on after
the last step that is written; the step it was in runs again, so each one may run more than once:
measuring leaves nothing behind that counts, and settling is one transaction that only the attempt
that holds the part can make. See docs/decisions/durable-jobs.md.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance
from pydantic import TypeAdapter
from sqlalchemy.exc import OperationalError

from farm.database import Database
from farm.events import add_event
from farm.faults import NUMERIC, decide, fault_of, is_hosts, is_lost, is_refused
from farm.fence import fenced
from farm.health import Policy
from farm.logs import bound
from farm.observation import note_fault, observe
from farm.overtaking import overtake
from farm.parts import Claimed, accept, current, note_loss, retry
from farm.preparations import finished, request_of
from farm.running import Attempt, Attempts
from farm.work import Work
from harness.device import Connect, Device
from harness.errors import HarnessError
from harness.evaluate import run_ended_by
from harness.host.disk import host_full
from harness.records import Failure, Outcome, Run, dump_run, parse_run

LOG = logging.getLogger("edgefarm.worker")
_FAILURE: TypeAdapter[Failure | None] = TypeAdapter(Failure | None)
_DROPPED = ""
_SETTLE_AGAIN_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


@dataclass(frozen=True)
class Shop:
    """What the workflows of one worker need.

    Attributes:
        database: the farm's.
        host: name of the lab host.
        holder: of this worker's leases.
        devices: by name.
        connect: opens a transport.
        work: how jobs are done.
        policy: of the devices' health.
        attempts: what runs now.
    """

    database: Database
    host: str
    holder: str
    devices: dict[str, Device]
    connect: Connect
    work: Work
    policy: Policy
    attempts: Attempts


@DBOS.dbos_class("edgefarm")
class Workflows(DBOSConfiguredInstance):
    """The workflows of one worker process; `shop` is set before the engine is launched."""

    shop: Shop

    @DBOS.workflow(name="part")
    def part(self, part: str, attempt: int) -> str:
        """Run a part on the device it was claimed with; how it was settled."""
        document = self.measure(part, attempt)
        return self.settle(part, attempt, document)

    @DBOS.step(name="measure", retries_allowed=True, interval_seconds=0.2, max_attempts=8)
    def measure(self, part: str, attempt: int) -> str:
        """The run as JSON; nothing when the part is not this attempt's any more."""
        shop = self.shop
        for _ in range(2):
            with shop.database.begin() as connection:
                claimed = current(connection, part, attempt, shop.holder)
            if claimed is None:
                return _DROPPED
            with (
                bound(job=claimed.job, device=claimed.lease.device),
                shop.attempts.running(claimed) as running,
            ):
                run = _run(shop, running)
                LOG.info("%s", run.outcome, extra={"part": part, "attempt": attempt})
            if not (is_lost(run) and _catches_up(shop, claimed)):
                break
        return dump_run(run).decode()

    def settle(self, part: str, attempt: int, document: str) -> str:
        """Accept the run or put the part back in line, and note what it says of the device.

        No step: its transaction is its own record, and a second time it changes nothing.
        """
        if document == _DROPPED:
            return "drop"
        run = parse_run(document.encode())
        for wait_s in _SETTLE_AGAIN_S:
            try:
                return self._settle_once(part, attempt, run)
            except OperationalError as error:  # the database is busy, or starts again
                LOG.warning("not settled yet: %s", error.orig, extra={"part": part})
                time.sleep(wait_s)
        return self._settle_once(part, attempt, run)

    def _settle_once(self, part: str, attempt: int, run: Run) -> str:
        with self.shop.database.begin() as connection:
            claimed = current(connection, part, attempt, self.shop.holder)
            return "drop" if claimed is None else _settle(connection, claimed, run)

    @DBOS.workflow(name="prepare")
    def prepare(self, key: str) -> str:
        """Make the artifact that jobs in line need; empty, or the error that ends them."""
        failure = self.make(key)
        return self.finish(key, failure)

    @DBOS.step(name="make", retries_allowed=True, interval_seconds=0.2, max_attempts=8)
    def make(self, key: str) -> str:
        """The failure as JSON."""
        shop = self.shop
        request, device = request_of(shop.database, key, shop.host, shop.devices)
        failure: Failure | None = None
        if request is not None and device is not None:
            failure = _attempted(lambda: shop.work.prepare(request, device))
        return _FAILURE.dump_json(failure).decode()

    @DBOS.step(name="finish", retries_allowed=True, interval_seconds=0.2, max_attempts=8)
    def finish(self, key: str, failure: str) -> str:
        """Let the parts that need the artifact be claimed, or end them."""
        failed = _FAILURE.validate_json(failure)
        with self.shop.database.begin() as connection:
            finished(connection, key, self.shop.host, failed)
        return failed.message if failed else ""


WORKFLOWS = Workflows("worker")
"""The one that the engine knows; it finds a workflow's instance again by that name."""


def _catches_up(shop: Shop, claimed: Claimed) -> bool:
    """Whether the lease was lost to a token that nobody alive has, and is now above it."""
    try:
        with shop.connect(shop.devices[claimed.lease.device]) as transport:
            return overtake(shop.database, transport, claimed.lease) is not None
    except HarnessError as error:
        LOG.warning("the device does not say who has it: %s", error)
        return False


def _attempted(call: Callable[[], None]) -> Failure | None:
    try:
        call()
    except HarnessError as error:
        blamed = host_full(error) or error
        return Failure(type(blamed).__name__, str(blamed))
    except Exception as error:  # a worker outlives its jobs
        if full := host_full(error):
            return Failure(type(full).__name__, str(full))
        LOG.exception("a defect of edgefarm's own")
        return Failure("WorkerFailed", f"{type(error).__name__}: {error}")
    return None


def _run(shop: Shop, running: Attempt) -> Run:
    """Do the job; whatever happens ends in a Run."""
    claimed = running.claimed
    device = shop.devices[claimed.lease.device]
    said: set[str] = set()

    def report(stage: str, _done: int, _total: int | None) -> None:
        if stage not in said:
            said.add(stage)
            with shop.database.begin() as connection:
                add_event(
                    connection, "progress", stage,
                    job=claimed.job, part=claimed.part, device=device.name,
                )  # fmt: skip

    asked = claimed.request.on(device)
    try:
        running.check()
        with fenced(shop.connect, device, claimed.lease.token, shop.holder) as opened:
            run = shop.work.run(claimed.request, device, opened, report, running.check)
        running.check()
    except HarnessError as error:
        return run_ended_by(asked, host_full(error) or error)
    except Exception as error:  # a worker outlives its jobs
        if full := host_full(error):
            return run_ended_by(asked, full)
        LOG.exception("a defect of edgefarm's own")
        failure = Failure("WorkerFailed", f"{type(error).__name__}: {error}")
        empty = run_ended_by(asked, HarnessError(failure.message))
        return replace(empty, outcome=Outcome.ERROR, failure=failure)
    return run


def _settle(connection: sa.Connection, claimed: Claimed, run: Run) -> str:
    """In one transaction: the part, its device's lease and its device's health."""
    decision = decide(
        run,
        failures=claimed.failures,
        differences=claimed.differences,
        refusals=claimed.refusals,
        attempts=claimed.request.attempts,
    )
    fault = fault_of(run)
    device = claimed.lease.device
    if decision == "drop":
        note_loss(connection, claimed, run.failure.message if run.failure else "")
        return decision
    if decision == "accept":
        settled = accept(connection, claimed, run)
    else:
        cause = f"{fault.kind}: {fault.message}" if fault else "; ".join(run.reasons)
        numeric = fault is not None and fault.kind == NUMERIC
        settled = retry(
            connection, claimed, cause,
            elsewhere=fault is not None, numeric=numeric, refused=is_refused(run),
            hosts=is_hosts(run),
        )  # fmt: skip
    if not settled:
        return "drop"
    confirmed = decision == "accept" and is_refused(run)  # then it says nothing of the device
    if fault is not None and not confirmed:
        note_fault(connection, device, fault)
    else:
        observe(connection, device, lambda known: known, seen=True)
    return decision
