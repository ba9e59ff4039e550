"""Health of a device: a state machine without side effects.

::

  healthy ──fault──► suspect ──probe passes──► healthy
                        │
                        ├─ probes fail, out of reach or power ──► offline ──probe passes──► healthy
                        ├─ probes fail, the machine ──► quarantined ──two probes pass──► healthy
                        └─ probes give wrong numbers ──► quarantined, until a person acts
  a changed host key ──► quarantined, until a person acts
  a person ──► maintenance, quarantined, or suspect (to be probed, then healthy)

Only a failed *probe* takes a device out of service: jobs fail for reasons of their own. Jobs go to
healthy devices only, so a device that a job has complained of gets no other one before a probe.
"""

from dataclasses import dataclass, replace
from typing import Literal

from farm.faults import NUMERIC, Fault
from harness.errors import (
    DeviceTimeout,
    DeviceUnready,
    HostKeyChanged,
    TransportError,
    is_kind,
)

State = Literal["healthy", "suspect", "quarantined", "offline", "maintenance"]

_OUT_OF_REACH = (TransportError, DeviceTimeout, DeviceUnready)
_NUMERIC_CAUSE, _HOST_KEY_CAUSE, _PERSON_CAUSE = "numeric: ", "host key: ", "by hand: "
_FOR_A_PERSON = (_NUMERIC_CAUSE, _HOST_KEY_CAUSE, _PERSON_CAUSE)


@dataclass(frozen=True)
class Policy:
    """When a device is probed and given up.

    Attributes:
        probe_every_s: of a healthy device.
        first_retry_s, last_retry_s: between probes of a suspect one: doubled after each failure.
        offline_every_s: between probes of one that cannot be reached.
        quarantine_every_s: between probes of a quarantined one.
        probes: so many failures in a row take a device out of service. Where one operation in five
            fails, six wrong in a row happen to one suspicion in 15,000.
        numeric_probes: so many wrong results in a row do.
    """

    probe_every_s: float = 6 * 3600.0
    first_retry_s: float = 5.0
    last_retry_s: float = 300.0
    offline_every_s: float = 60.0
    quarantine_every_s: float = 3600.0
    probes: int = 6
    numeric_probes: int = 3


@dataclass(frozen=True)
class Health:
    """A device's health.

    Attributes:
        state: see the module.
        cause: why it is not healthy; its first word tells a person's business apart.
        failed_probes: in a row.
        numeric_probes: of these, the last ones that gave wrong numbers.
        probe_in_s: until the next probe; None for never.
    """

    state: State = "healthy"
    cause: str = ""
    failed_probes: int = 0
    numeric_probes: int = 0
    probe_in_s: float | None = None

    @property
    def waits_for_a_person(self) -> bool:
        """Whether only a person can bring it back."""
        if self.state == "quarantined":
            return self.cause.startswith(_FOR_A_PERSON)
        return self.state == "maintenance"


def after_fault(health: Health, fault: Fault) -> Health:
    """A job ran into a fault on the device."""
    if health.waits_for_a_person:
        return health
    if is_kind(fault.kind, HostKeyChanged):
        return _quarantined(_HOST_KEY_CAUSE, fault)
    if health.state != "healthy":
        return health
    return Health("suspect", f"{fault.kind}: {fault.message}", probe_in_s=0.0)


def after_passed_probe(health: Health, policy: Policy) -> Health:
    """The golden model gave what it must."""
    if health.waits_for_a_person:
        return health
    if health.state == "quarantined":
        again = policy.probes - 1  # one more failure, and it is back
        return Health("suspect", "was quarantined: " + health.cause, again, probe_in_s=0.0)
    return Health(probe_in_s=policy.probe_every_s)


def after_failed_probe(health: Health, fault: Fault, policy: Policy) -> Health:
    """The golden model did not run, or gave something else."""
    if health.waits_for_a_person:
        return health
    if is_kind(fault.kind, HostKeyChanged):
        return _quarantined(_HOST_KEY_CAUSE, fault)
    failed = health.failed_probes + 1
    numeric = health.numeric_probes + 1 if fault.kind == NUMERIC else 0
    if numeric >= policy.numeric_probes:
        return _quarantined(_NUMERIC_CAUSE, fault)
    cause = f"{fault.kind}: {fault.message}"
    if health.state == "quarantined":
        return replace(health, cause=cause, probe_in_s=policy.quarantine_every_s)
    return _suspected(Health("suspect", cause, failed, numeric), fault, policy)


def _suspected(counted: Health, fault: Fault, policy: Policy) -> Health:
    """A suspect device after one more failed probe, or what it became by it."""
    if counted.failed_probes < policy.probes or fault.kind == NUMERIC:
        doubled = policy.first_retry_s * 2 ** min(counted.failed_probes - 1, 30)
        return replace(counted, probe_in_s=min(doubled, policy.last_retry_s))
    if is_kind(fault.kind, *_OUT_OF_REACH):
        return replace(counted, state="offline", probe_in_s=policy.offline_every_s)
    return replace(counted, state="quarantined", probe_in_s=policy.quarantine_every_s)


def by_hand(state: Literal["maintenance", "quarantined", "suspect"], reason: str) -> Health:
    """A person's order; "suspect" brings a device back by way of a probe."""
    cause = _PERSON_CAUSE + (reason or "no reason given")
    return Health(state, cause, probe_in_s=0.0 if state == "suspect" else None)


def _quarantined(cause: str, fault: Fault) -> Health:
    return Health("quarantined", cause + fault.message)
