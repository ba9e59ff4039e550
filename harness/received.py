"""What a job's ``out`` folder held, checked: everything in it comes from a device, untrusted."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import TensorSpec
from harness.device import PullLimits
from harness.errors import DeviceError
from harness.protocol import Result, parse_result
from harness.slices import output_shape

RESULT = "result.json"

_RESULT_BYTES = 16 << 20
_HEADER_BYTES = 4096
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
