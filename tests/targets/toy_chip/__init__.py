"""A target from outside of the tree, as a vendor might ship it: a chip that keeps the first values
of its input, without their negative part. See tests/targets/test_from_outside.py.
"""

from pathlib import Path

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.device import Device
from harness.emulator.formats.model_file import Format
from harness.protocol import Result
from harness.target import Runner, Target

from .compiler import check_toy, lower_toy
from .program import MARK, expose_toy, read_toy, run_toy

_SOURCE = "toy_chip/runner.py invoke"
_RUNNER = Path(__file__).with_name("runner.py")

PROFILE = ArithmeticProfile(
    name="toy-chip",
    summary="the toy chip, any revision",
    entries=(
        Entry(("RESHAPE", "SLICE"), ("int8",), "move", Evidence.SOURCE, _SOURCE),
        Entry(("MAXIMUM",), ("int8",), "raw", Evidence.SOURCE, _SOURCE),
    ),
)

FORMAT = Format("toy", "toy-runtime", 0, MARK, read_toy, expose_toy)


def _argv(device: Device, files: tuple[str, ...], job: str) -> tuple[str, ...]:
    return (device.python or "python3", files[0], job)


def _profile(_device: Device, result: Result) -> str | None:
    return PROFILE.name if result.runtime == "toy-runtime" else None


TOY = Target(
    name="toy",
    summary="a chip that keeps the first values of its input",
    runtime="toy-runtime",
    machine=None,
    suffix=FORMAT.suffix,
    recipes=("static_wi8_ai8",),
    lower=lower_toy,
    runner=Runner("toy-program", (_RUNNER,), _argv, remedy="install Python with numpy"),
    profile=_profile,
    evidence="its emulator against its runner, on x86-64",
    check=check_toy,
    profile_without_device=lambda _soc: PROFILE.name,
    trial=run_toy,
)
