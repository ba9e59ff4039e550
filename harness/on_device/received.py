"""What a job's ``out`` folder held, checked: everything in it comes from a device, untrusted."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import TensorSpec
from harness.device import PullLimits
from harness.errors import DeviceError
from harness.on_device.slices import output_shape
from harness.protocol import MAX_TIMED_RUNS, Job, Result, parse_result

RESULT = "result.json"

_RESULT_BYTES = 16 << 20
_HEADER_BYTES = 4096
_CLOCKS = 1.01  # two clocks differ by less, whoever is fast
_ROUNDING = 1e-6
_SPARE_FILES = 16  # so that an unexpected file is named here, not only counted by the transport


def pull_limits(specs: tuple[TensorSpec, ...], slices: int) -> PullLimits:
    """What the outputs of that many invocations may need at most."""
    sizes = [_HEADER_BYTES + _payload_bytes(spec, slices) for spec in specs]
    return PullLimits(
        max_files=len(specs) + 1 + _SPARE_FILES,
        max_file_bytes=max([_RESULT_BYTES, *sizes]),
        max_total_bytes=_RESULT_BYTES + sum(sizes),
    )


def read_result(
    folder: Path, files: tuple[Path, ...], specs: tuple[TensorSpec, ...], *, device: str
) -> Result:
    """Parse ``result.json`` and check that exactly the files it should name are there.

    Raises:
        DeviceError: it is no result, or there are other files than the protocol's.
    """
    result = parse_result((folder / RESULT).read_bytes(), device=device)
    wanted = [] if result.failure else [f"out{index}.npy" for index in range(len(specs))]
    named = list(result.outputs)
    found = sorted(str(file) for file in files if str(file) != RESULT)
    if named != wanted or found != sorted(wanted):
        raise DeviceError(
            f"the runner's outputs must be {wanted}, it names {named} and left {found}",
            device=device,
        )
    return result


def check_times(result: Result, job: Job, wall_ns: int, *, device: str) -> None:
    """Refuse times that the runner cannot have measured while it did the job.

    Args:
        result: of a job that was done.
        job: what the runner was asked for.
        wall_ns: how long its process took, by this host's clock.
        device: name of the device.

    Raises:
        DeviceError: other numbers of samples than asked for, a time of 0 ns, or more time than
            there was.
    """
    for wrong in (_wrong_counts(result, job), _wrong_times(result, wall_ns)):
        if wrong:
            raise DeviceError(f"the runner's times cannot be true: {wrong}", device=device)


def _wrong_counts(result: Result, job: Job) -> str:
    warmup, timed = len(result.warmup_ns), len(result.latency_ns)
    least, most = job.timed_runs, max(job.timed_runs, MAX_TIMED_RUNS)
    if warmup != job.warmup_runs:
        return f"{warmup} warm-up samples, {job.warmup_runs} were asked for"
    if not least <= timed <= most:
        return f"{timed} samples; allowed: {least} to {most}"
    wanted_ns = job.min_time_s * 1e9
    spent_ns = sum(result.latency_ns)
    if timed < most and spent_ns < wanted_ns * (1 - _ROUNDING):
        return f"{timed} samples of {spent_ns} ns in all; they had to go on for {wanted_ns:.0f} ns"
    if timed > least and spent_ns - result.latency_ns[-1] > wanted_ns * (1 + _ROUNDING):
        return f"{timed} samples, though {least} and {wanted_ns:.0f} ns were enough"
    runs = max((op.runs for op in result.op_times), default=0)
    if runs > job.profiled_runs:
        return f"{runs} profiled runs, {job.profiled_runs} were asked for"
    return ""


def _wrong_times(result: Result, wall_ns: int) -> str:
    if 0 in (*result.warmup_ns, *result.latency_ns):
        return "an invocation of 0 ns"
    told_ns = result.load_ns + sum(result.warmup_ns) + sum(result.latency_ns)
    longest_ns = max([told_ns, *(op.total_ns for op in result.op_times)])
    if longest_ns > wall_ns * _CLOCKS:
        return f"{longest_ns} ns are told, its process took {wall_ns} ns"
    return ""


def read_output(path: Path, spec: TensorSpec, slices: int, *, device: str) -> npt.NDArray[Any]:
    """Read one output; nothing of the file is trusted beyond what `spec` says it must be.

    Raises:
        DeviceError: not an ``.npy`` file, or of another shape, dtype or length.
    """
    shape, dtype = output_shape(spec, slices), np.dtype(spec.dtype)
    wanted = f"output {spec.name!r} ({path.name}): expected {dtype} of shape {shape}"
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy lets those of Python's tokenizer and compiler through
        raise DeviceError(f"{wanted}, got a broken file: {error}", device=device) from error
    if mapped.shape != shape or mapped.dtype != dtype:
        raise DeviceError(f"{wanted}, got {mapped.dtype} of shape {mapped.shape}", device=device)
    excess = path.stat().st_size - mapped.offset - _payload_bytes(spec, slices)
    if excess:
        raise DeviceError(f"{wanted}, got {excess} bytes behind it", device=device)
    return np.array(mapped, order="C")


def _payload_bytes(spec: TensorSpec, slices: int) -> int:
    return int(np.prod(output_shape(spec, slices))) * np.dtype(spec.dtype).itemsize
