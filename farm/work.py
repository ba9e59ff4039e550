"""Work: what a worker does for a job; `Evaluation` is the real one, `harness.evaluate.evaluate`.

Converters, runtimes and the emulator read what strangers submitted, so they run in a process of
their own with a memory limit, which ends when the job must.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from farm.job import JobRequest
from harness.device import Connect, Device
from harness.evaluate import evaluate, prepare
from harness.isolate import run_isolated
from harness.records import Run
from harness.target import Progress

Stop = Callable[[], None]
"""Called now and then; raises when the work must end: Cancelled, LeaseLost or DeviceTimeout."""

DEFAULT_MEMORY_BYTES = 8 << 30
_TICK_S = 0.5
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

        def progress(stage: str, done: int, total: int | None) -> None:
            stop()  # raising here ends the process
            if stage:
                report(stage, done, total)

        return run_isolated(
            _evaluate,
            request,
            device,
            connect,
            what=f"{request.model} on {device.name}",
            timeout_s=request.time_limit_s + _GRACE_S,
            memory_limit_bytes=self.memory_bytes,
            progress=progress,
        )


def _prepare(request: JobRequest, device: Device, progress: Progress) -> None:
    prepare(request.on(device), progress=progress)


def _evaluate(request: JobRequest, device: Device, connect: Connect, progress: Progress) -> Run:
    with _ticking(progress) as report:
        return evaluate(request.on(device), connect, progress=report)


@contextmanager
def _ticking(progress: Progress) -> Iterator[Progress]:
    """Report an empty stage twice a second, for the parent looks at its `stop` when it hears us."""
    use, done = threading.Lock(), threading.Event()

    def report(stage: str, number: int, total: int | None) -> None:
        with use:
            progress(stage, number, total)

    def tick() -> None:
        while not done.wait(_TICK_S):
            report("", 0, None)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield report
    finally:
        done.set()
        ticker.join()
