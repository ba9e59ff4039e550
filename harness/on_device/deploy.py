"""The host side of the runner protocol: one artifact, its inputs, one device; outputs and times.

The same path serves this host and every board. What it leaves on a device is the store of files by
content; a job's folder is removed however the job ends.
"""

import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from harness.artifact import Artifact, sha256_file
from harness.device import CommandResult, Transport
from harness.errors import (
    ArtifactCorrupt,
    DeviceError,
    DeviceFull,
    HarnessError,
    RefusedOnDevice,
    RunnerKilled,
    RuntimeMissing,
    UsageError,
    printable,
)
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.host.wording import first_fault
from harness.on_device.pinning import pin_to
from harness.on_device.received import RESULT, check_times, pull_limits, read_output, read_result
from harness.on_device.slices import chunks, count_slices, join_outputs, take_slices
from harness.protocol import Job, Kernels, Result, RunnerFailure
from harness.target import Runner, RunnerName, Target

Array = npt.NDArray[Any]

CHUNK_BYTES = 64 << 20

_COMMAND_TIMEOUT_S = 60.0
_NO_SPACE = "No space left on device"
_LOADER = "' not found (required by "  # of the dynamic linker: version `GLIBC_2.34' not found (…
_EXIT_NOT_EXECUTABLE = 126
_EXIT_NOT_FOUND = 127

# $1 is the working folder. It may lie where others can write: refuse one that is not ours.
# A lost connection leaves a job's folder behind; those of another day are removed here.
_MAKE_WORKDIR = (
    'umask 077 && [ ! -L "$1" ] && mkdir -p "$1/store" "$1/jobs" && chmod 700 "$1" '
    '&& find "$1/jobs" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +'
)
# What a native program must be built for: Android's loader and C library are its own.
_PLATFORM = 'm=$(uname -m); [ ! -e /system/bin/linker64 ] || m=android-$m; echo "$m"'
# $1 is the job's folder, $2 the program.
_MAKE_JOB = 'umask 077 && mkdir "$1" "$1/out" && chmod u+x "$2"'


@dataclass(frozen=True)
class MeasurePlan:
    """How latency is measured.

    The restart of the runner is the unit of replication: runs in one process share its memory
    layout and its luck.

    Attributes:
        restarts: processes, at least 1.
        warmup_runs, timed_runs, min_time_s: in each process, see `harness.protocol.Job`.
        profiled_runs: in the first process, after its timed runs.
    """

    restarts: int
    warmup_runs: int
    timed_runs: int
    min_time_s: float
    profiled_runs: int = 0


STANDARD = MeasurePlan(restarts=5, warmup_runs=10, timed_runs=50, min_time_s=1.0, profiled_runs=10)
QUICK = MeasurePlan(restarts=1, warmup_runs=2, timed_runs=10, min_time_s=0.2, profiled_runs=3)
NONE = MeasurePlan(restarts=1, warmup_runs=0, timed_runs=0, min_time_s=0.0)


@dataclass(frozen=True)
class DeviceRun:
    """What a device gave back.

    Attributes:
        results: one for each restart; the first wrote the outputs.
        outputs: in the artifact's output order and dtypes; the first axis as the inputs'.
        notes: what went wrong without spoiling the result, e.g. a folder that was not removed.
    """

    results: tuple[Result, ...]
    outputs: tuple[Array, ...]
    notes: tuple[str, ...] = ()


def run_job(
    transport: Transport,
    runner: Runner,
    artifact: Artifact,
    inputs: Sequence[Array],
    measure: MeasurePlan,
    *,
    kernels: Kernels = "xnnpack",
    threads: int = 1,
    cpus: str | None = None,
    timeout_s: float = 600.0,
    progress: Progress = no_progress,
    chunk_bytes: int = CHUNK_BYTES,
) -> DeviceRun:
    """Run an artifact on a device over all samples and measure its latency.

    Args:
        transport: open connection to the device.
        runner: the program that runs there.
        artifact: what to run.
        inputs: in the artifact's input order, of its dtypes (`harness.artifact.to_device`); the
            first axis holds any number of samples, or one invocation's, which is then given with
            every one. A last, partial batch is filled with copies of its last sample, whose
            outputs are dropped.
        measure: how latency is measured.
        kernels: see `harness.protocol.Kernels`.
        threads: of the runtime.
        cpus: cores that the runner is kept on, e.g. ``0,4-7``; None: on any.
        timeout_s: limit for each transfer and for each process of the runner.
        progress: told about pushes and processes.
        chunk_bytes: what inputs and outputs of one process stay below, or are one invocation.

    Raises:
        UsageError: the inputs do not fit the artifact.
        RefusedOnDevice: the runtime refused the artifact or its inputs.
        DeviceError: everything else; see the classes below it.
    """
    manifest = artifact.manifest
    ranges = list(chunks(manifest, count_slices(manifest.inputs, inputs), chunk_bytes))
    session = _Session(transport, runner, artifact, timeout_s, pin_to(cpus))
    job = session.job(len(inputs), kernels, threads)
    timed = job.model_copy(
        update={
            "warmup_runs": measure.warmup_runs,
            "timed_runs": measure.timed_runs,
            "min_time_s": measure.min_time_s,
            "profiled_runs": measure.profiled_runs,
        }
    )
    restart = timed.model_copy(update={"outputs": False, "profiled_runs": 0})
    plan = [(timed, ranges[0])]
    plan += [(job, chunk) for chunk in ranges[1:]]
    plan += [(restart, (0, 1))] * (measure.restarts - 1)
    session.push_files(progress)
    done = []
    for number, (each, (start, stop)) in enumerate(plan):
        progress("run", number, len(plan))
        taken = take_slices(manifest.inputs, inputs, start, stop)
        done.append(session.run(each, taken, stop - start))
    progress("run", len(plan), len(plan))
    results = [result for result, _ in (done[0], *done[len(ranges) :])]
    outputs = [arrays for _, arrays in done[: len(ranges)]]
    return DeviceRun(tuple(results), join_outputs(manifest, outputs, inputs), tuple(session.notes))


def choose_runner(transport: Transport, target: Target, wanted: RunnerName | None = None) -> Runner:
    """The runner for a device: the native one where it has no Python, where the target puts it
    first, or on request.

    Raises:
        UsageError: the target has no native runner, or it cannot be built on this host.
    """
    device = transport.device
    native_first = target.native_first or device.python is None
    if wanted == "python" or (wanted is None and not native_first):
        return target.runner
    if target.native_runner is None:
        raise UsageError(
            f"target {target.name} has no native runner; "
            f"name an interpreter as `python` in the entry of device {device.name}"
        )
    if target.machine is not None and device.transport != "adb":
        machine = target.machine
    else:
        named = transport.run(("sh", "-c", _PLATFORM), timeout_s=_COMMAND_TIMEOUT_S)
        machine = _text(named.stdout).strip()
    try:
        return target.native_runner(machine)
    except UsageError as error:
        if wanted is not None or device.python is None:
            raise
        packages = " or ".join(target.packages)
        raise UsageError(
            f"{error}\nor, where {device.name} has {packages} of its own: --runner python"
        ) from error


class _Session:
    """One artifact on one device: what is pushed once, and one process of the runner at a time."""

    def __init__(
        self,
        transport: Transport,
        runner: Runner,
        artifact: Artifact,
        timeout_s: float,
        prefix: tuple[str, ...],
    ) -> None:
        self.transport = transport
        self.device = transport.device
        self.runner = runner
        self.artifact = artifact
        self.timeout_s = timeout_s
        self.prefix = prefix
        self.digests = {path: sha256_file(path) for path in runner.files}
        self.notes: list[str] = []

    def stored(self, sha256: str) -> str:
        """Where a file of that content lies on the device."""
        return f"{self.device.workdir}/store/{sha256}"

    def job(self, inputs: int, kernels: Kernels, threads: int) -> Job:
        """The job that runs the artifact, without timing."""
        manifest = self.artifact.manifest
        fields = {
            "runtime": manifest.runtime,
            "artifact": self.stored(manifest.sha256),
            "sha256": manifest.sha256,
            "inputs": [f"in{index}.npy" for index in range(inputs)],
            "kernels": kernels,
            "delegate": self.runner.delegate
            and self.runner.delegate.model_copy(update={"build": manifest.vendor_build}),
            "threads": threads,
        }
        try:
            return Job.model_validate(fields)
        except ValidationError as error:
            raise UsageError(f"job: {first_fault(error)}") from error

    def push_files(self, progress: Progress) -> None:
        """Put the runner and the artifact into the device's store; what is there stays."""
        self.command(("sh", "-c", _MAKE_WORKDIR, "sh", self.device.workdir))
        manifest = self.artifact.manifest
        files = [*self.digests.items(), (self.artifact.path, manifest.sha256)]
        for number, (path, sha256) in enumerate(files):
            progress("push", number, len(files))
            self.push(path, self.stored(sha256), sha256)
        progress("push", len(files), len(files))

    def push(self, path: Path, remote: str, sha256: str) -> None:
        """Push one file."""
        self.transport.push(path, remote, sha256=sha256, timeout_s=self.timeout_s)

    def command(self, argv: tuple[str, ...]) -> None:
        """Run a short command that must succeed."""
        result = self.transport.run(argv, timeout_s=_COMMAND_TIMEOUT_S)
        if result.exit_status != 0:
            stderr = _text(result.stderr)
            kind = DeviceFull if _NO_SPACE in stderr else DeviceError
            raise kind(
                "the working folder cannot be prepared",
                device=self.device.name,
                argv=argv,
                exit_status=result.exit_status,
                stderr=stderr,
            )

    def run(
        self, job: Job, inputs: Sequence[Array], slices: int
    ) -> tuple[Result, tuple[Array, ...]]:
        """One process of the runner, in a job folder of its own."""
        with scratch_folder() as local, self.job_folder() as remote:
            self.push_job(job, inputs, local, remote)
            files = tuple(self.stored(sha256) for sha256 in self.digests.values())
            argv = (*self.prefix, *self.runner.argv(self.device, files, remote))
            began_ns = time.monotonic_ns()
            ended = self.transport.run(argv, timeout_s=self.timeout_s)
            wall_ns = time.monotonic_ns() - began_ns
            result, outputs = self.collect(job, ended, local / "out", f"{remote}/out", slices)
            check_times(result, job, wall_ns, device=self.device.name)
            return result, outputs

    @contextmanager
    def job_folder(self) -> Iterator[str]:
        """A new folder on the device, removed however the job ends."""
        folder = f"{self.device.workdir}/jobs/{uuid.uuid4().hex}"
        program = self.stored(self.digests[self.runner.files[0]])
        try:
            self.command(("sh", "-c", _MAKE_JOB, "sh", folder, program))
            yield folder
        except BaseException as error:
            for note in self.remove(folder):
                error.add_note(note)
            raise
        self.notes += self.remove(folder)

    def remove(self, folder: str) -> list[str]:
        """Remove a job folder; what prevents it is told, never raised over the first error."""
        try:
            ended = self.transport.run(("rm", "-rf", folder), timeout_s=_COMMAND_TIMEOUT_S)
        except HarnessError as error:
            return [f"{folder} was not removed: {error}"]
        if ended.exit_status != 0:
            return [f"{folder} was not removed: {_text(ended.stderr).strip()}"]
        return []

    def push_job(self, job: Job, inputs: Sequence[Array], local: Path, remote: str) -> None:
        """Put the inputs and ``job.json`` into the job folder."""
        for file, x in zip(job.inputs, inputs, strict=True):
            np.save(local / file, x, allow_pickle=False)
        (local / "job.json").write_text(job.model_dump_json())
        for file in (*job.inputs, "job.json"):
            self.push(local / file, f"{remote}/{file}", sha256_file(local / file))

    def collect(
        self, job: Job, ended: CommandResult, local: Path, remote: str, slices: int
    ) -> tuple[Result, tuple[Array, ...]]:
        """Pull what the runner left, and turn whatever went wrong into its error."""
        specs = self.artifact.manifest.outputs if job.outputs else ()
        limits = pull_limits(specs, slices)
        files = self.transport.pull(remote, local, limits=limits, timeout_s=self.timeout_s)
        if Path(RESULT) not in files:
            raise no_result_error(ended, self.runner, self.device.name)
        result = read_result(local, files, specs, device=self.device.name)
        if result.failure is not None:
            raise failure_error(result, result.failure, self.artifact, ended, self.device.name)
        if ended.exit_status != 0:
            self.notes.append(
                f"the runner wrote its result, then ended {_ending(ended.exit_status)}"
            )
        return result, tuple(
            read_output(local / file, spec, slices, device=self.device.name)
            for file, spec in zip(result.outputs, specs, strict=True)
        )


def no_result_error(ended: CommandResult, runner: Runner, device: str) -> DeviceError:
    """The error for a runner that ended without a result."""
    status, stderr = ended.exit_status, _text(ended.stderr)
    kind: type[DeviceError] = RunnerKilled
    if status in (_EXIT_NOT_FOUND, _EXIT_NOT_EXECUTABLE) or _LOADER in stderr:
        kind, message = RuntimeMissing, f"{ended.argv[0]} cannot be executed: {runner.remedy}"
    elif _NO_SPACE in stderr:
        kind, message = DeviceFull, "no space left for the runner's result"
    else:
        hint = "; out of memory is the usual cause" if status == -signal.SIGKILL else ""
        message = f"the runner ended {_ending(status)} without a result{hint}"
    return kind(message, device=device, argv=ended.argv, exit_status=status, stderr=stderr)


def failure_error(
    result: Result, failure: RunnerFailure, artifact: Artifact, ended: CommandResult, device: str
) -> HarnessError:
    """The error for a failure that the runner named."""
    message = _text(failure.message.encode())
    if failure.kind == "model":
        # LiteRT's C API gives a number and prints the reason.
        printed = [x for x in _text(ended.stderr).splitlines() if x.startswith("ERROR: ")]
        reasons = "; ".join((message, *printed))
        return RefusedOnDevice(f"{artifact.path.name}: refused on device {device}: {reasons}")
    if failure.kind == "runtime_missing":
        remedy = (
            "`edgefarm device check` tells what to install for the interpreter that the device's "
            "`python` names"
        )
        return RuntimeMissing(f"no {artifact.manifest.runtime}: {message}; {remedy}", device=device)
    if failure.kind == "artifact":
        return ArtifactCorrupt(message, device=device)
    if failure.kind == "disk_full":
        return DeviceFull(message, device=device)
    return DeviceError(f"the runner ({result.runner}) failed: {message}", device=device)


def _ending(status: int) -> str:
    """An exit status in words; a negative one is a signal."""
    if status >= 0:
        return f"with status {status}"
    known = -status in set(signal.Signals)
    return f"by {signal.Signals(-status).name if known else f'signal {-status}'}"


def _text(raw: bytes) -> str:
    """A device's words, safe to show."""
    return printable(raw.decode("utf-8", errors="replace"))
