"""The golden model: a tiny int8 network that every LiteRT device must get right, bit for bit.

Run over the straight way, it says whether a device, its runtime and the way there can be trusted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.device import Connect, Device
from harness.host.progress import Progress, no_progress
from harness.target import Target
from targets import get_target

if TYPE_CHECKING:
    from harness.records import Run

_HERE = Path(__file__).parent
MODEL = _HERE / "model.tflite"
SAMPLES = _HERE / "samples.npz"


@dataclass(frozen=True)
class Golden:
    """The model that tells whether a device can be trusted: ours, or a lab's own.

    Attributes:
        model: a quantized ``.tflite``.
        data: its samples, ``.npz``.
    """

    model: Path = MODEL
    data: Path = SAMPLES


def golden_target(device: Device) -> Target | None:
    """The first of a device's targets that the golden model runs on; None when none takes it."""
    targets = [get_target(name) for name in device.targets]
    fitting = [target for target in targets if target.suffix == MODEL.suffix]
    return fitting[0] if fitting else None


def run_golden(
    device: Device,
    target: Target,
    connect: Connect,
    *,
    golden: Golden = Golden(),
    progress: Progress = no_progress,
) -> "Run":
    """Run the golden model on a device and compare it with the emulator.

    Args:
        device: where to.
        target: see `golden_target`.
        connect: opens a transport to the device.
        golden: what is run.
        progress: told what is being done.

    Returns:
        A Run: PASS; FAIL when the numbers are wrong; ERROR or TIMEOUT when the machine is.
    """
    # The inventory only names the model: what runs it takes long to import.
    from harness.evaluate import evaluate
    from harness.judge.limits import DefaultLimits, Limits
    from harness.on_device.deploy import NONE
    from harness.request import Request

    request = Request(
        model=str(golden.model),
        data=str(golden.data),
        target=target,
        recipe=None,
        device=device,
        limits=Limits(defaults=DefaultLimits(judge=False)),  # it is to be right, not to be good
        measure=NONE,
    )
    return evaluate(request, connect, progress=progress)
