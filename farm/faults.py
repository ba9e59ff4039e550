"""Faults: whether a run says that the machine is at fault, and what follows for its job."""

from dataclasses import dataclass
from typing import Literal

from farm.sqlite_line import LineHeld
from harness.errors import DeviceError, HostFull, LeaseLost, RefusedOnDevice, is_kind
from harness.records import Outcome, Run

NUMERIC = "Numeric"
"""The kind of a fault where the device computed, without an error, what it should not."""

_NOT_THE_DEVICES = (LeaseLost, LineHeld, HostFull)
_WORKER_FAILED = "WorkerFailed"
_CONFIRMATIONS = 1


@dataclass(frozen=True)
class Fault:
    """What a run, or a probe, says against its device.

    Attributes:
        kind: class of the error, see `harness.errors`; or `NUMERIC`.
        message: in words.
    """

    kind: str
    message: str


Decision = Literal["accept", "retry", "drop"]


def fault_of(run: Run) -> Fault | None:
    """What a run says against its device; None when nothing.

    A difference from what the emulator promises exactly, and a model that the device refused, may
    be the device's fault or not: a probe tells. A model that misses its limits says nothing against
    the device.
    """
    if is_refused(run) and run.failure is not None:
        return Fault(run.failure.kind, run.failure.message)
    if run.outcome in {Outcome.ERROR, Outcome.TIMEOUT}:
        kind = run.failure.kind if run.failure else str(run.outcome)
        if _is_not_the_devices(kind):
            return None
        return Fault(kind, run.failure.message if run.failure else "; ".join(run.reasons))
    if run.exactness is not None and run.exactness.verdict == "differs":
        return Fault(NUMERIC, run.exactness.reason)
    return None


def fault_of_error(error: DeviceError) -> Fault | None:
    """What an error says against its device; None when nothing."""
    kind = type(error).__name__
    return None if _is_not_the_devices(kind) else Fault(kind, error.message)


def _is_not_the_devices(kind: str) -> bool:
    return kind == _WORKER_FAILED or is_kind(kind, *_NOT_THE_DEVICES)


def is_lost(run: Run) -> bool:
    """Whether the run ended because the device has another holder."""
    return run.failure is not None and is_kind(run.failure.kind, LeaseLost)


def is_refused(run: Run) -> bool:
    """Whether the run failed by the device's word alone."""
    return run.failure is not None and is_kind(run.failure.kind, RefusedOnDevice)


def is_hosts(run: Run) -> bool:
    """Whether the lab host, not the device, is at fault."""
    return run.failure is not None and is_kind(run.failure.kind, HostFull)


def decide(
    run: Run, *, failures: int, differences: int, attempts: int, refusals: int = 0
) -> Decision:
    """What becomes of an attempt.

    Args:
        run: what it brought.
        failures: attempts of the part that ended by a fault before.
        differences: how many of these were numeric.
        attempts: how many the submitter allows.
        refusals: how many attempts ended because a device refused the model.

    Returns:
        "drop" when the device has another holder: nothing of the attempt counts. "retry" after a
        machine's fault while attempts are left, of numeric ones after the first alone, so that a
        bit that fell over once is no verdict; and after a device's first refusal whatever is
        allowed, for nobody else has confirmed it yet. Otherwise "accept".
    """
    if is_lost(run):
        return "drop"
    if is_refused(run):
        return "accept" if refusals >= _CONFIRMATIONS else "retry"
    fault = fault_of(run)
    if fault is None and run.outcome not in {Outcome.ERROR, Outcome.TIMEOUT}:
        return "accept"
    if fault is not None and fault.kind == NUMERIC and differences >= _CONFIRMATIONS:
        return "accept"
    return "retry" if failures + 1 < attempts else "accept"
