"""Work: what a worker does for a job; `Evaluation` is the real one, `harness.evaluate.evaluate`.

Converters, runtimes and the emulator read what strangers submitted, so they run in a process of
their own with a memory limit, which ends when the job must.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from farm.job import JobRequest
from harness.device import Connect, Device
from harness.evaluate import evaluate, prepare
from harness.host.isolate import run_isolated
from harness.host.progress import Progress
from harness.records import Run

Stop = Callable[[], None]
"""Called now and then; raises when the work must end: Cancelled, LeaseLost or DeviceTimeout."""

DEFAULT_MEMORY_BYTES = 8 << 30
_GRACE_S = 30.0
_PREPARATION_S = 2 * 3600.0


class Work(Protocol):
    """How jobs are done; tests and the bench bring simpler ways."""

    def prepare(self, request: JobRequest, device: Device) -> None:
        """Do what needs no device, into this host's cache.

        Raises:
            HarnessError: the job cannot be done.
        """

    def run(
        self, request: JobRequest, device: Device, connect: Connect, report: Progress, stop: Stop
    ) -> Run:
        """Do the job on a device.

        Raises:
            UsageError: the caller's mistake.
            HarnessError: what `stop` raises; other ends are in the Run.
        """


@dataclass(frozen=True)
class Evaluation:
    """The straight way, in a process of its own.

    Attributes:
        memory_bytes: what that process may use.
    """

    memory_bytes: int = DEFAULT_MEMORY_BYTES

    def prepare(self, request: JobRequest, device: Device) -> None:
        """Make the artifact; see `harness.evaluate.prepare`."""
        run_isolated(
            _prepare,
            request,
            device,
            what=f"{request.model}: preparation for {request.target}",
            timeout_s=_PREPARATION_S,
            memory_limit_bytes=self.memory_bytes,
        )

    def run(
        self, request: JobRequest, device: Device, connect: Connect, report: Progress, stop: Stop
    ) -> Run:
        """Evaluate; see `harness.evaluate.evaluate`."""
        return run_isolated(
            _evaluate,
            request,
            device,
            connect,
            what=f"{request.model} on {device.name}",
            timeout_s=request.time_limit_s + _GRACE_S,
            memory_limit_bytes=self.memory_bytes,
            progress=report,
            stop=stop,
        )


def _prepare(request: JobRequest, device: Device, progress: Progress) -> None:
    prepare(request.on(device), progress=progress)


def _evaluate(request: JobRequest, device: Device, connect: Connect, progress: Progress) -> Run:
    return evaluate(request.on(device), connect, progress=progress)
