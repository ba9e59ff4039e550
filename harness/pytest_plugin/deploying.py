"""From a test's model to a Run, or to outputs: the straight way, under the test's lease."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.leases import Leased
from harness.artifact import Artifact, to_device
from harness.device import Device
from harness.emulator.formats.model_file import read_model
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import DeviceError, HostFull, UsageError, error_class
from harness.evaluate import evaluate
from harness.judge.exactness import compare_with_emulator
from harness.judge.limits import Limits, load_limits
from harness.on_device.deploy import NONE, QUICK, STANDARD, DeviceRun, choose_runner, run_job
from harness.on_device.slices import count_slices, take_slices
from harness.prepare import prepared
from harness.protocol import Kernels
from harness.pytest_plugin.session import DeviceTests
from harness.recipe import load_recipe
from harness.records import Exactness, Outcome, Run
from harness.request import Request
from harness.sources.dataset import Dataset
from harness.target import Target
from targets import get_target

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Lowered:
    """An artifact with inputs as it takes them, for a target."""

    target: Target
    artifact: Artifact
    inputs: tuple[Array, ...]


class SuspiciousRun(UserWarning):
    """A deployed run ended with WARN: it breaks no limit, but looks wrong."""


class Deploying:
    """What the fixtures call; every call is for the test that runs now."""

    def __init__(self, tests: DeviceTests) -> None:
        self._tests = tests
        self.accepted: set[str] = set()
        """Ids of runs whose WARN the test takes."""

    def deploy(
        self,
        model: str | Path,
        *,
        recipe: str | None = None,
        data: str | Path | None = None,
        target: str | None = None,
        limits: str | Path | Limits | None = None,
        samples: int | None = None,
        quick: bool = True,
        kernels: Kernels = "xnnpack",
        threads: int = 1,
        device: Device | None = None,
        accept_warn: bool = False,
    ) -> Run:
        """Quantize, deploy, run, emulate, compare and judge: `harness.evaluate.evaluate`.

        Args:
            model, recipe, data, samples, kernels, threads: as of ``edgefarm run``.
            target: by default the marker's, or the device's only one.
            limits: a limits.toml, or Limits; the Run's outcome is judged by them.
            quick: measure latency briefly.
            device: which of several held devices; by default the first.
            accept_warn: take a run that ends with WARN as it is. Otherwise pytest shows a
                `SuspiciousRun` warning, and assertions on its numbers fail.

        Returns:
            The Run; whether it is a PASS is the test's to assert.

        Raises:
            UsageError: an argument is wrong.
            DeviceError: the machine failed, as often as ``--device-retries`` allows.
        """
        reference = str(model)
        if data is None and not reference.startswith("zoo:"):
            raise UsageError(f"deploy({reference!r}): data is missing: which samples?")

        def work(held: Leased) -> Run:
            request = Request(
                model=reference,
                data=str(data or reference),
                target=self._target(held, target),
                recipe=load_recipe(recipe) if recipe else None,
                device=held.device,
                limits=limits if isinstance(limits, Limits) else _limits(limits),
                measure=QUICK if quick else STANDARD,
                kernels=kernels,
                threads=threads,
                samples=samples,
            )
            return _unless_the_machine_failed(evaluate(request, held.connect))

        run = self._tests.attempt(work, device)
        if accept_warn:
            self.accepted.add(run.id)
        elif run.outcome is Outcome.WARN:
            warnings.warn(
                f"deploy({reference!r}): {run.summary}: {'; '.join(run.reasons)}",
                SuspiciousRun,
                stacklevel=2,
            )
        return run

    def run_on_device(
        self,
        model: str | Path,
        *inputs: Array,
        recipe: str | None = None,
        kernels: Kernels = "xnnpack",
        threads: int = 1,
        device: Device | None = None,
    ) -> tuple[Array, ...]:
        """Run a model on the held device, over all samples.

        Args:
            model: as of ``edgefarm run``; lowered by `recipe`, calibrated on `inputs`, unless it
                came quantized.
            inputs: in the model's own layout; the first axis is the sample.
            kernels, threads, device: see `deploy`.

        Returns:
            The outputs, as integers where they are quantized.
        """

        def work(held: Leased) -> tuple[Array, ...]:
            lowered = self._lower(held, model, inputs, recipe)
            return _run(held, lowered, kernels, threads).outputs

        return self._tests.attempt(work, device)

    def emulate(
        self,
        model: str | Path,
        *inputs: Array,
        recipe: str | None = None,
        profile: str | None = None,
        kernels: Kernels = "xnnpack",
        threads: int = 1,
        device: Device | None = None,
    ) -> tuple[Array | None, ...]:
        """What the device should give for a model, computed on this host.

        Args:
            profile: one of ``edgefarm profiles``; by default, of what runs on the device, which
                is run once to see it.
            model, inputs, recipe, kernels, threads, device: see `run_on_device`.

        Returns:
            The outputs; None where the emulator has no definition.

        Raises:
            UsageError: no profile stands for what runs on the device.
        """

        def work(held: Leased) -> tuple[Array | None, ...]:
            lowered = self._lower(held, model, inputs, recipe)
            first = take_slices(lowered.artifact.manifest.inputs, lowered.inputs, 0, 1)
            name = profile
            if name is None:
                once = _Lowered(lowered.target, lowered.artifact, first)
                ran = _run(held, once, kernels, threads).results[0]
                name = lowered.target.profile(held.device, ran)
            if name is None:
                raise UsageError(
                    f"no profile stands for what runs on {held.device.name}; name one: profile=…"
                )
            graph = read_model(lowered.artifact.path).main
            specs = lowered.artifact.manifest.inputs
            whole = take_slices(specs, lowered.inputs, 0, count_slices(specs, lowered.inputs))
            return emulate(graph, get_profile(name), whole).outputs

        return self._tests.attempt(work, device)

    def compare(
        self,
        model: str | Path,
        *inputs: Array,
        recipe: str | None = None,
        kernels: Kernels = "xnnpack",
        threads: int = 1,
        device: Device | None = None,
    ) -> Exactness:
        """Run a model on the held device and hold every tensor against the emulator."""

        def work(held: Leased) -> Exactness:
            lowered = self._lower(held, model, inputs, recipe)
            ran = _run(held, lowered, kernels, threads)
            return compare_with_emulator(
                lowered.artifact,
                lowered.target.profile(held.device, ran.results[0]),
                lowered.inputs,
                ran.outputs,
                lambda exposed, batch: (
                    _run(
                        held, _Lowered(lowered.target, exposed, tuple(batch)), kernels, threads
                    ).outputs
                ),
                threads=threads,
            ).exactness

        return self._tests.attempt(work, device)

    def _lower(
        self, held: Leased, model: str | Path, inputs: tuple[Array, ...], recipe: str | None
    ) -> _Lowered:
        target = self._target(held, None)
        given = tuple(np.asarray(x) for x in inputs)
        chosen = load_recipe(recipe) if recipe else None
        request = Request(str(model), Dataset(given, calibration=given), target, chosen)
        ready = prepared(request, compiled=False)
        pairs = zip(ready.lowered.manifest.inputs, ready.samples.evaluation, strict=True)
        return _Lowered(target, ready.lowered, tuple(to_device(spec, x) for spec, x in pairs))

    def _target(self, held: Leased, named: str | None) -> Target:
        name = named or self._tests.selector().target
        if not name and len(held.device.targets) == 1:
            name = held.device.targets[0]
        if not name:
            raise UsageError(
                f"device {held.device.name} has the targets {', '.join(held.device.targets)}; "
                "say which in the marker: target=…"
            )
        return get_target(name)


def _limits(file: str | Path | None) -> Limits:
    return Limits() if file is None else load_limits(Path(file))


def _run(held: Leased, lowered: _Lowered, kernels: Kernels, threads: int) -> DeviceRun:
    """Run without timing."""
    with held.connect(held.device) as transport:
        return run_job(
            transport,
            choose_runner(transport, lowered.target),
            lowered.artifact,
            lowered.inputs,
            NONE,
            kernels=kernels,
            threads=threads,
        )


def _unless_the_machine_failed(run: Run) -> Run:
    """The run, or the DeviceError that ended it."""
    failure = run.failure
    if failure is None or run.outcome not in {Outcome.ERROR, Outcome.TIMEOUT}:
        return run
    message = failure.message.removeprefix(f"device {run.device.name}: ")
    kind = error_class(failure.kind)
    if kind is not None and issubclass(kind, DeviceError):
        raise kind(message, device=run.device.name)
    if kind is not None and issubclass(kind, HostFull):
        raise kind(message)
    raise DeviceError(f"{failure.kind}: {message}", device=run.device.name)
