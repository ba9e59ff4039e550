"""An entry says MEASURED where the recorded runs of `python -m tests.evidence` compared it."""

import pytest

from harness.emulator.profiles import get_profile
from tests.evidence.cases import Row
from tests.evidence.machines import MACHINES, PROGRAM_MACHINES
from tests.evidence.record import claimed, read

RECORDED = {name: machine for machine, made in MACHINES.items() for name in made.profiles}
"""By profile: which machine's record holds it."""
WITHOUT_CORE = ("litert-ref-arm", "litert-builtin-arm", "litert-xnnpack-arm")


def compared(name: str) -> set[Row]:
    """What runs of a profile compared: under another resolver of the same machine too, for the
    kernel that a profile's entry names is the same one there."""
    rows = read(RECORDED[name])
    others = {"xnnpack": "builtin"}.get(get_profile(name).kernels)
    same = [p for p in rows if p == name or get_profile(p).kernels == others]
    return set().union(*(rows[p] for p in same))


@pytest.mark.parametrize("name", RECORDED)
def test_what_says_measured_was_run_on_that_machine(name: str) -> None:
    missing = set(claimed(get_profile(name))) - compared(name)
    assert not missing, f"run `python -m tests.evidence {RECORDED[name]} --record`, or say SOURCE"


@pytest.mark.parametrize("name", WITHOUT_CORE)
def test_what_says_measured_of_any_core_was_run_on_each(name: str) -> None:
    for core in ("cortex-a53", "cortex-a76"):
        missing = set(claimed(get_profile(name))) - compared(f"{name}@{core}")
        assert not missing, core


@pytest.mark.parametrize("machine", PROGRAM_MACHINES)
def test_what_says_measured_of_executorch_was_run_there(machine: str) -> None:
    profile = PROGRAM_MACHINES[machine].profile
    missing = set(claimed(get_profile(profile))) - read(machine)[profile]
    assert not missing, f"run `python -m tests.evidence {machine} --record`, or say SOURCE"


def test_what_says_measured_of_executorch_on_any_core_was_run_on_each() -> None:
    for core in ("cortex-a53", "cortex-a76"):
        name = "executorch-xnnpack-arm"
        rows = read(f"executorch-{core}")[f"{name}@{core}"]
        assert not set(claimed(get_profile(name))) - rows, core
