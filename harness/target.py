"""Target: a kind of machine with its runtime.

Data, not a class hierarchy; see docs/adding-a-target.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.artifact import Artifact
from harness.device import Device
from harness.model import Model
from harness.placement import PlacementReport
from harness.protocol import Result
from harness.recipe import Recipe

Runtime = Literal["litert", "executorch"]
RunnerName = Literal["python", "native"]

Progress = Callable[[str, int, int | None], None]
"""Called with (what is being done, steps done, steps in all or None when not known)."""


def no_progress(_stage: str, _done: int, _total: int | None) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class LoweringRequest:
    """One lowering, as it crosses into the subprocess that does it.

    Attributes:
        model: what was submitted.
        recipe: what to quantize; None for a model that came quantized.
        target: name of the target, for the manifest.
        calibration: ``.npz`` with samples ``in0, in1, …`` in the model's own layout.
        folder: where the artifact and its manifest go.
        cache: root of the cache by content, for intermediate results that recipes share.
    """

    model: Model
    recipe: Recipe | None
    target: str
    calibration: Path
    folder: Path
    cache: Path


class Lower(Protocol):
    """Turns a model into an artifact. A module-level function: it runs in a subprocess, for
    converters crash."""

    def __call__(self, request: LoweringRequest, progress: Progress) -> Artifact:
        """Raise ModelError when the model, the recipe or the calibration data cannot be lowered."""


Check = Callable[[Path, str | None, Progress], PlacementReport]
"""Tells where each op of a lowered file would run, on which chip where the target has several. It
opens and examines the file, never runs it. A module-level function: it runs in a subprocess."""


@dataclass(frozen=True)
class Runner:
    """The program that runs on the device and obeys the runner protocol.

    Attributes:
        name: see `RunnerName`.
        files: files to put on the device, by content; the first is the program.
        argv: from (device, paths of the files on the device, job folder) to the command.
    """

    name: RunnerName
    files: tuple[Path, ...]
    argv: Callable[[Device, tuple[str, ...], str], tuple[str, ...]]


@dataclass(frozen=True)
class Target:
    """A kind of machine with its runtime.

    Attributes:
        name: e.g. ``arm-neon-litert``.
        summary: one line for ``edgefarm targets``.
        runtime: what interprets the artifact on the device.
        machine: ``uname -m`` of the devices; None for any.
        suffix: of the artifact, e.g. ``.tflite``.
        recipes: names of the recipes it takes.
        lower: makes the artifact.
        runner: runs it on the device.
        profile: name of the emulator profile that stands for what `Result` says really ran, or
            None when no profile does; then the comparison reports "unknown".
        evidence: what was verified and on what, for ``edgefarm targets``.
        check: where each op of a lowered file would run.
        socs: the chips that an artifact can be compiled for; empty where it runs on any.
        native_runner: makes the runner for devices without Python, for a machine (``uname -m``);
            None when the target has none.
    """

    name: str
    summary: str
    runtime: Runtime
    machine: str | None
    suffix: str
    recipes: tuple[str, ...]
    lower: Lower
    runner: Runner
    profile: Callable[[Device, Result], str | None]
    evidence: str
    check: Check
    socs: tuple[str, ...] = ()
    native_runner: Callable[[str], Runner] | None = None
