"""The worker of a lab host: serves the devices attached to it until it is told to stop.

It looks for work a few times a second. A device that ends a part takes its next one at once. What
is killed with it goes on when it starts again, or on other devices when its leases expire.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from farm.attachment import attached, inherit
from farm.database import Database
from farm.devices import Known, forget_devices, known_devices, named_for, register_devices
from farm.engine import Engine, running_engine
from farm.health import Policy
from farm.heart import Heart
from farm.labgrid import give_back
from farm.leases import TTL_S, Lease, release
from farm.logs import bound
from farm.parts import Claimed, claim, matching, ready_selectors
from farm.preparations import begin, unfinished, wanted
from farm.probing import Probe, due_probes, run_probe, take_for_probe
from farm.running import Attempts
from farm.work import Work
from farm.workflows import Shop
from harness.device import Connect, Device

LOG = logging.getLogger("edgefarm.worker")


@dataclass(frozen=True)
class Settings:
    """How a worker works.

    Attributes:
        ttl_s: how long its leases outlive it.
        poll_s: how often it looks for work.
        preparers: artifacts made at the same time.
        policy: of the devices' health.
        traces: OTLP endpoints for traces.
        drain_s: how long the end waits for what has no limit of its own, or is past it.
    """

    ttl_s: float = TTL_S
    poll_s: float = 0.25
    preparers: int = 1
    policy: Policy = field(default_factory=Policy)
    traces: tuple[str, ...] = ()
    drain_s: float = 60.0


def serve(
    database: Database,
    host: str,
    devices: Sequence[Device],
    *,
    connect: Connect,
    work: Work,
    probe: Probe,
    stop: threading.Event,
    settings: Settings | None = None,
) -> None:
    """Serve a lab host's devices until `stop`; then wait for what runs on them and return.

    Jobs are waited for as long as they may take, all else for a moment. What still runs then (a
    hung probe, a preparation) is left as a killed worker leaves it: the caller ends the process.

    Args:
        database: the farm's.
        host: name of the lab host.
        devices: those attached to it.
        connect: opens a transport to one.
        work: how jobs are done.
        probe: runs the golden model.
        stop: set it to drain: nothing new begins.
        settings: see `Settings`.

    Raises:
        UsageError: another worker serves the lab host, or another host a device of these.
    """
    chosen = settings or Settings()
    named = {one.name: one for one in (named_for(device, host) for device in devices)}
    with ExitStack() as stack:
        mine = stack.enter_context(attached(database, host, ttl_s=chosen.ttl_s))
        register_devices(database, list(named.values()), host=host)
        forget_devices(database, host, keep=list(named))
        attempts = Attempts()
        shop = Shop(database, host, mine.holder, named, connect, work, chosen.policy, attempts)
        inherited = inherit(database, mine, ttl_s=chosen.ttl_s)
        give_back_places(database, host)
        heart = Heart(database, mine, attempts, chosen.ttl_s)
        heart.start()
        stack.callback(heart.stop)
        engine = stack.enter_context(
            running_engine(shop, preparers=chosen.preparers, traces=chosen.traces)
        )
        worker = Worker(shop, engine, heart, probe=probe, settings=chosen)
        worker.resume(inherited)
        LOG.info("serving", extra={"host": host, "devices": sorted(named)})
        worker.run(stop)
        LOG.info("stopped", extra={"host": host})


class Worker:
    """The loop of `serve`."""

    def __init__(
        self, shop: Shop, engine: Engine, heart: Heart, *, probe: Probe, settings: Settings
    ) -> None:
        self._shop = shop
        self._engine = engine
        self._heart = heart
        self._probe = probe
        self._settings = settings
        self._selectors: list[str] = []
        self._stopping = False

    def resume(self, inherited: Sequence[tuple[str, int]]) -> None:
        """Go on with what an earlier process left: parts on devices, and preparations."""
        for part, attempt in inherited:
            self._engine.resume_part(part, attempt)
        with self._shop.database.begin() as connection:
            left = unfinished(connection, self._shop.host)
        for key, workflow in left:
            self._engine.prepare(key, workflow)

    def run(self, stop: threading.Event) -> None:
        """Look for work until told to stop, then wait for what runs."""
        pool = ThreadPoolExecutor(max(1, len(self._shop.devices)))
        while not stop.is_set() and not self._heart.superseded.is_set():
            try:
                self._look(pool)
            except SQLAlchemyError as error:
                LOG.warning("no look at the queue: %s", getattr(error, "orig", None) or error)
            stop.wait(self._settings.poll_s)
        self._stopping = self._heart.draining = True
        LOG.info("draining", extra={"devices": self._shop.attempts.devices()})
        pool.shutdown(wait=False)
        self._drain()

    def _drain(self) -> None:
        """Wait for what runs, in the pool or resumed; each attempt has its own limit."""
        began = time.monotonic()
        while devices := self._shop.attempts.devices():
            deadlines = [attempt.deadline for attempt in self._shop.attempts.now()]
            if time.monotonic() > max([began, *deadlines]) + self._settings.drain_s:
                LOG.warning("not waited for any longer", extra={"devices": devices})
                return
            time.sleep(self._settings.poll_s)

    def _look(self, pool: ThreadPoolExecutor) -> None:
        shop = self._shop
        with shop.database.begin() as connection:
            known = known_devices(connection, host=shop.host)
            self._selectors = ready_selectors(connection)
            due = due_probes(connection, shop.host)
            missing = wanted(connection, shop.host, list(shop.devices.values()))
        busy = set(shop.attempts.devices())
        idle = [one for one in known if one.holder is None and one.device.name not in busy]
        for one in idle:
            if one.device.name in due:
                self._begin_probe(pool, one.device)
            elif one.health == "healthy":
                self._begin_part(pool, one)
        for key, job in missing[: 2 * self._settings.preparers]:
            self._begin_preparation(key, job)

    def _begin_part(self, pool: ThreadPoolExecutor, known: Known) -> None:
        claimed = self._claim(known)
        if claimed is not None:
            pool.submit(_logged, self._serve_device, known, claimed)

    def _serve_device(self, known: Known, first: Claimed) -> None:
        """Run parts on a device, one after the other, while there are any for it."""
        claimed: Claimed | None = first
        while claimed is not None:
            with (
                self._shop.attempts.holding(known.device.name),
                bound(job=claimed.job, device=known.device.name),
            ):
                try:
                    self._engine.run_part(claimed.part, claimed.attempt)
                except Exception:  # the engine's or the database's trouble: the lease expires
                    LOG.exception("the workflow did not end")
                    return
            claimed = None if self._stopping else self._try_claim(known)

    def _try_claim(self, known: Known) -> Claimed | None:
        try:
            return self._claim(known)
        except SQLAlchemyError:
            return None  # the next look comes soon

    def _claim(self, known: Known) -> Claimed | None:
        fitting = matching(self._selectors, known, self._shop.host)
        if not fitting:
            return None
        with self._shop.database.begin() as connection:
            return claim(
                connection,
                known.device.name,
                self._shop.host,
                fitting,
                self._shop.holder,
                ttl_s=self._settings.ttl_s,
            )

    def _begin_probe(self, pool: ThreadPoolExecutor, device: Device) -> None:
        with self._shop.database.begin() as connection:
            lease = take_for_probe(
                connection, device.name, self._shop.holder, ttl_s=self._settings.ttl_s
            )
        if lease is not None:
            pool.submit(_logged, self._run_probe, device, lease)

    def _run_probe(self, device: Device, lease: Lease) -> None:
        shop = self._shop
        with shop.attempts.holding(device.name):
            try:
                run_probe(
                    shop.database,
                    device,
                    lease,
                    connect=shop.connect,
                    probe=self._probe,
                    policy=shop.policy,
                )
            except SQLAlchemyError as error:
                LOG.warning("probe lost: %s", getattr(error, "orig", None) or error)
                with shop.database.begin() as connection:
                    release(connection, lease)

    def _begin_preparation(self, key: str, job: str) -> None:
        workflow = f"prepare-{key[:16]}-{self._shop.host}-{uuid4().hex[:8]}"
        with self._shop.database.begin() as connection:
            begin(connection, key, self._shop.host, job, workflow)
        self._engine.prepare(key, workflow)


def give_back_places(database: Database, host: str) -> None:
    """Release what a killed worker left acquired in labgrid of devices that nobody has now."""
    with database.begin() as connection:
        known = known_devices(connection, host=host)
    for one in known:
        if one.holder is None:
            give_back(one.device)


def _logged(call: Callable[..., None], *args: object) -> None:
    """Call; what it raises is a defect and would be lost in a pool."""
    try:
        call(*args)
    except Exception:
        LOG.exception("a defect of edgefarm's own")
