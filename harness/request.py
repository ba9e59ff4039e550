"""Request: what somebody asks to have evaluated."""

from dataclasses import dataclass, field

from harness.device import NO_DEVICE, Device
from harness.judge.limits import Limits
from harness.on_device.deploy import STANDARD, MeasurePlan
from harness.protocol import Kernels
from harness.recipe import Recipe
from harness.sources.dataset import Dataset
from harness.target import RunnerName, Target


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        model: a reference, see `harness.sources`.
        data: a reference, or the samples themselves.
        recipe: None for a model file that came quantized.
        device: where it runs; `NO_DEVICE` emulates only.
        soc: the chip to compile for, see `Target.socs`.
        shapes: sizes that a ``.tflite`` leaves open, see `harness.sources.open_shapes`.
        host: this machine as a device, to time the same artifact on; None leaves that out.
        kernels: which kernels of LiteRT run on the device.
        runner: which program runs there; None chooses the native one where there is no Python.
        samples: most evaluation samples to run; None for all.
    """

    model: str
    data: str | Dataset
    target: Target
    recipe: Recipe | None
    device: Device = NO_DEVICE
    host: Device | None = None
    limits: Limits = field(default_factory=Limits)
    measure: MeasurePlan = STANDARD
    kernels: Kernels = "xnnpack"
    threads: int = 1
    runner: RunnerName | None = None
    samples: int | None = None
    soc: str | None = None
    shapes: tuple[str, ...] = ()

    @property
    def data_name(self) -> str:
        """The data's reference, or that they came without one."""
        return self.data if isinstance(self.data, str) else IN_MEMORY


IN_MEMORY = "(in memory)"
"""What stands for the name of samples that came as arrays."""
