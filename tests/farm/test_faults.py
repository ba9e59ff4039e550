"""What a run says against its device, and what becomes of the job's part."""

from dataclasses import replace

import pytest

from farm.faults import NUMERIC, Fault, decide, fault_of
from harness.records import Exactness, Failure, Outcome, Run
from tests.farm.jobs_in import a_run

LOST = a_run(Outcome.ERROR, Failure("LeaseLost", "gone"))
BROKEN = a_run(Outcome.ERROR, Failure("TransportError", "unplugged"))
SLOW = a_run(Outcome.TIMEOUT, Failure("DeviceTimeout", "hangs"))
OURS = a_run(Outcome.ERROR, Failure("WorkerFailed", "a defect"))
BAD_MODEL = a_run(Outcome.FAIL, Failure("ModelError", "no such op"))
MISSED = a_run(Outcome.FAIL)
DIFFERS = replace(MISSED, exactness=Exactness("p", "differs", reason="3 elements"))
CANCELLED = a_run(Outcome.CANCELLED, Failure("Cancelled", "by its submitter"))


FULL = a_run(Outcome.ERROR, Failure("HostFull", "no space"))
REFUSED = a_run(Outcome.FAIL, Failure("RefusedOnDevice", "no such op"))


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (a_run(), None),
        (LOST, None),
        (OURS, None),
        (FULL, None),
        (REFUSED, Fault("RefusedOnDevice", "no such op")),
        (BAD_MODEL, None),
        (MISSED, None),
        (CANCELLED, None),
        (BROKEN, Fault("TransportError", "unplugged")),
        (SLOW, Fault("DeviceTimeout", "hangs")),
        (DIFFERS, Fault(NUMERIC, "3 elements")),
    ],
)
def test_whose_fault(run: Run, fault: Fault | None) -> None:
    assert fault_of(run) == fault


@pytest.mark.parametrize(
    ("run", "by_failures"),
    [
        (a_run(), ["accept"]),
        (BAD_MODEL, ["accept"]),
        (MISSED, ["accept"]),
        (CANCELLED, ["accept"]),
        (LOST, ["drop", "drop", "drop"]),
        (BROKEN, ["retry", "retry", "accept"]),
        (SLOW, ["retry", "retry", "accept"]),
        (OURS, ["retry", "retry", "accept"]),
        (FULL, ["retry", "retry", "accept"]),
        (DIFFERS, ["retry", "accept", "accept"]),
    ],
)
def test_what_follows(run: Run, by_failures: list[str]) -> None:
    numeric = run is DIFFERS
    decided = [
        decide(run, failures=n, differences=n * numeric, attempts=3)
        for n in range(len(by_failures))
    ]
    assert decided == by_failures


def test_a_first_difference_is_confirmed_whatever_failed_before() -> None:
    assert decide(DIFFERS, failures=1, differences=0, attempts=3) == "retry"
    assert decide(DIFFERS, failures=2, differences=0, attempts=3) == "accept"
    assert decide(DIFFERS, failures=1, differences=1, attempts=3) == "accept"
    assert decide(BROKEN, failures=1, differences=1, attempts=3) == "retry"


def test_one_attempt_is_one_attempt() -> None:
    assert decide(BROKEN, failures=0, differences=0, attempts=1) == "accept"
    assert decide(DIFFERS, failures=0, differences=0, attempts=1) == "accept"


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_device_s_word_on_a_model_counts_once_it_is_confirmed(attempts: int) -> None:
    for failures in (0, 2):
        assert decide(REFUSED, failures=failures, differences=1, attempts=attempts) == "retry"
    told = decide(REFUSED, failures=1, differences=0, attempts=attempts, refusals=1)
    assert told == "accept"
