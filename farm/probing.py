"""Probes: the golden model on a device, now and then and when its health is in doubt."""

import logging
from collections.abc import Callable

import sqlalchemy as sa

from farm.database import Database, now
from farm.faults import Fault, fault_of
from farm.fence import fenced
from farm.golden import Golden, golden_target, run_golden
from farm.health import Health, Policy, after_failed_probe, after_passed_probe
from farm.leases import Lease, release, take
from farm.logs import bound
from farm.observation import observe
from farm.overtaking import overtake
from farm.reboot import reboot
from farm.tables import DEVICES
from harness.device import Connect, Device
from harness.errors import HarnessError, LeaseLost, is_kind
from harness.records import Outcome, Run

Probe = Callable[[Device, Connect], Fault | None]
"""Tries a device: None when it can be trusted; raises HarnessError, or tells what is wrong."""

LOG = logging.getLogger("edgefarm.health")
_TIMEOUT_S = 60.0
_REBOOT_AFTER = 2
"""So many probes in a row must have failed before a device is rebooted; then again and again."""

_PROBED = ("healthy", "suspect", "offline", "quarantined")


def due_probes(connection: sa.Connection, host: str) -> list[str]:
    """Free devices of a lab host whose next probe is due."""
    query = sa.select(DEVICES.c.name).where(
        DEVICES.c.host == host,
        DEVICES.c.health.in_(_PROBED),
        DEVICES.c.next_probe <= now(),
        DEVICES.c.holder.is_(None) | (DEVICES.c.lease_expires < now()),
    )
    return list(connection.execute(query).scalars())


def take_for_probe(
    connection: sa.Connection, device: str, holder: str, *, ttl_s: float
) -> Lease | None:
    """Lease a device for a probe; None when another was faster."""
    return take(connection, device, holder, ttl_s=ttl_s, health=_PROBED)


def run_probe(
    database: Database,
    device: Device,
    lease: Lease,
    *,
    connect: Connect,
    probe: Probe,
    policy: Policy,
) -> Health:
    """Probe a leased device, write down what follows, and give it back.

    A probe whose lease was lost meanwhile says nothing.
    """
    with bound(device=device.name):
        must_reboot = bool(device.policy.reboot) and _should_reboot(database, device.name)
        fault = _fault(device, lease, connect, probe, must_reboot=must_reboot)
        if fault and is_kind(fault.kind, LeaseLost):
            raised = _catch_up(database, device, lease, connect)
            if raised is not None:
                lease = raised
                fault = _fault(device, lease, connect, probe, must_reboot=must_reboot)

        def change(known: Health) -> Health:
            if fault is None:
                return after_passed_probe(known, policy)
            return after_failed_probe(known, fault, policy)

        with database.begin() as connection:
            if not release(connection, lease) or (fault and is_kind(fault.kind, LeaseLost)):
                return observe(connection, device.name, lambda known: known)
            health = observe(connection, device.name, change, seen=fault is None)
        LOG.info(
            "probe %s", "passed" if fault is None else "failed",
            extra={"fault": fault and fault.message, "health": health.state},
        )  # fmt: skip
        return health


def golden_probe(
    device: Device,
    connect: Connect,
    golden: Golden = Golden(),  # noqa: B008  frozen
) -> Fault | None:
    """The golden model; where no target of the device takes it, a command must run."""
    target = golden_target(device)
    if target is not None:
        return probe_fault(run_golden(device, target, connect, golden=golden))
    with connect(device) as transport:
        ended = transport.run(("true",), timeout_s=_TIMEOUT_S)
    if ended.exit_status != 0:
        return Fault("DeviceError", f"`true` ended with status {ended.exit_status}")
    return None


def probe_fault(run: Run) -> Fault | None:
    """What a run of a golden model says: anything but PASS is a fault."""
    if run.outcome is Outcome.PASS:
        return None
    return fault_of(run) or Fault("ProbeFailed", "; ".join(run.reasons))


def _catch_up(database: Database, device: Device, lease: Lease, connect: Connect) -> Lease | None:
    """The lease above a token that nobody alive has."""
    try:
        with connect(device) as transport:
            return overtake(database, transport, lease)
    except HarnessError:
        return None


def _should_reboot(database: Database, device: str) -> bool:
    query = sa.select(DEVICES.c.failed_probes).where(DEVICES.c.name == device)
    with database.begin() as connection:
        failed = connection.execute(query).scalar_one_or_none() or 0
    return failed > 0 and failed % (_REBOOT_AFTER + 1) == _REBOOT_AFTER


def _fault(
    device: Device, lease: Lease, connect: Connect, probe: Probe, *, must_reboot: bool
) -> Fault | None:
    try:
        with fenced(connect, device, lease.token, lease.holder) as opened:
            if must_reboot:
                LOG.info("rebooting", extra={"command": device.policy.reboot})
                reboot(device, opened)
            return probe(device, opened)
    except HarnessError as error:
        return Fault(type(error).__name__, str(error))
    except Exception as error:  # a worker outlives its probes
        LOG.exception("a defect of edgefarm's own")
        return Fault("ProbeFailed", f"{type(error).__name__}: {error}")
