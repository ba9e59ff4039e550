"""Read an ``.npz`` that nobody vouches for: no pickles, and no array larger than its file says."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError, UsageError

MAX_BYTES = 8 << 30
_MAX_ARRAYS = 10_000


def read_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an ``.npz`` by name.

    Args:
        max_bytes: limit on the size of all arrays together, unpacked.

    Raises:
        UsageError: the file cannot be opened.
        ModelError: it is not an ``.npz`` of plain arrays, or is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > max_bytes or len(members) > _MAX_ARRAYS:
                raise ModelError(
                    f"{path}: unpacks to {total} bytes in {len(members)} arrays; "
                    f"allowed: {max_bytes} bytes in {_MAX_ARRAYS}"
                )
            return {
                member.filename.removesuffix(".npy"): _read_array(archive, member, path)
                for member in members
            }
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: not an .npz file: {error}") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> npt.NDArray[Any]:
    where = f"{path}: array {member.filename!r}"
    try:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(stream)
            if dtype.hasobject or dtype.kind not in "biufUS":
                raise ModelError(f"{where}: dtype {dtype}; allowed: numbers and text, no pickles")
            size = dtype.itemsize * int(np.prod(shape, dtype=object))
            if min(shape, default=0) < 0 or size > member.file_size:
                raise ModelError(
                    f"{where}: shape {shape} of {dtype} does not fit its {member.file_size} bytes"
                )
            data = stream.read(size)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{where}: broken: {error}") from error
    if len(data) != size:
        raise ModelError(f"{where}: ends after {len(data)} of {size} bytes")
    array = np.frombuffer(bytearray(data), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
