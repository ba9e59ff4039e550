"""Read an ``.npz`` that nobody vouches for: no pickles, and no array larger than its file says.

`read_npz` takes the arrays whole; `open_npz` gives them a few rows at a time, in bounded memory.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError
from harness.host.cache import Cache, arrays_key
from harness.host.plain_files import open_plain

Array = npt.NDArray[Any]

MAX_BYTES = 8 << 30
_MAX_ARRAYS = 10_000
_BROKEN = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
_BROKEN_HEADER = (*_BROKEN, SyntaxError, TypeError, tokenize.TokenError)
"""numpy parses a header by Python's own tokenizer and compiler, and lets their errors through."""


def read_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """All arrays of an ``.npz`` by name.

    Args:
        max_bytes: limit on the size of all arrays together, unpacked.

    Raises:
        UsageError: the file cannot be opened, is not an ``.npz`` of plain arrays, or is too large.
    """
    with open_npz(path, max_bytes=max_bytes) as arrays:
        return {name: array.read_all() for name, array in arrays.items()}


@contextmanager
def open_npz(path: Path, *, max_bytes: int | None = None) -> Iterator[dict[str, "NpzArray"]]:
    """The arrays of an ``.npz`` by name, to be read from their first row on.

    Args:
        max_bytes: limit on the size of all arrays together, unpacked; None for any size.

    Raises:
        UsageError: the file cannot be opened, is not an ``.npz`` of plain arrays, or is too large.
    """
    with ExitStack() as stack:
        try:
            content = stack.enter_context(open_plain(path))
            archive = stack.enter_context(zipfile.ZipFile(content))
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > _MAX_ARRAYS or (max_bytes is not None and total > max_bytes):
                raise UsageError(
                    f"{path}: unpacks to {total} bytes in {len(members)} arrays; "
                    f"allowed: {max_bytes or 'any number of'} bytes in {_MAX_ARRAYS}"
                )
            arrays = {}
            for member in members:
                where = f"{path}: array {member.filename!r}"
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # zipfile unpacks what it read of other kinds at once, however much comes out.
                    raise UsageError(
                        f"{where}: compressed by method {member.compress_type}; allowed: stored, "
                        "deflated, as numpy writes"
                    )
                stream = stack.enter_context(archive.open(member))
                name = member.filename.removesuffix(".npy")
                arrays[name] = _array(stream, member.file_size, where)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise UsageError(f"{path}: not an .npz file: {error}") from error
        yield arrays


class NpzArray:
    """One array of an open ``.npz``, read from its first row on.

    Attributes:
        shape, dtype: as its header says; the header was checked against the size of the file.
    """

    def __init__(
        self, stream: IO[bytes], where: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._stream = stream
        self._where = where

    def read_all(self) -> Array:
        """What was not read yet, which must be everything, in the array's shape."""
        return self._read(self.shape)

    def read(self, rows: int) -> Array:
        """The next `rows` entries of the first axis, which must be there.

        Raises:
            UsageError: the file is broken or ends early.
        """
        return self._read((rows, *self.shape[1:]))

    def skip(self, rows: int) -> None:
        """Leave out the next `rows` entries of the first axis."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        try:
            self._stream.seek(rows * row_bytes, 1)
        except _BROKEN as error:
            raise UsageError(f"{self._where}: broken: {error}") from error

    def _read(self, shape: tuple[int, ...]) -> Array:
        size = self.dtype.itemsize * int(np.prod(shape, dtype=object))
        try:
            data = self._stream.read(size)
        except _BROKEN as error:
            raise UsageError(f"{self._where}: broken: {error}") from error
        if len(data) != size:
            raise UsageError(f"{self._where}: ends after {len(data)} of {size} bytes")
        return np.frombuffer(bytearray(data), dtype=self.dtype).reshape(shape)


class _ByColumns(NpzArray):
    """An array stored column by column: its rows are all over the file, so it is read at once."""

    _whole: Array | None = None
    _at = 0

    def _read(self, shape: tuple[int, ...]) -> Array:
        if self._whole is None:
            self._whole = super()._read(self.shape[::-1]).T
        if not shape:
            return self._whole
        rows = self._whole[self._at : self._at + shape[0]]
        self._at += shape[0]
        return rows

    def skip(self, rows: int) -> None:
        self._at += rows


def _array(stream: IO[bytes], file_size: int, where: str) -> NpzArray:
    try:
        version = np.lib.format.read_magic(stream)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(stream)
    except _BROKEN_HEADER as error:
        raise UsageError(f"{where}: broken: {error}") from error
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise UsageError(f"{where}: dtype {dtype}; allowed: numbers and text, no pickles")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if min(shape, default=0) < 0 or size > file_size:
        raise UsageError(f"{where}: shape {shape} of {dtype} does not fit its {file_size} bytes")
    return (_ByColumns if fortran else NpzArray)(stream, where, shape, dtype)


def store_samples(calibration: tuple[npt.NDArray[Any], ...], cache: Cache) -> Path:
    """The samples as ``in0, in1, …`` in an ``.npz`` named by content."""
    key = arrays_key(calibration)
    path = cache.entry("samples", key) / "samples.npz"
    if not path.exists():
        named: dict[str, Any] = {f"in{index}": array for index, array in enumerate(calibration)}
        with cache.fill("samples", key) as folder:
            np.savez(folder / path.name, **named)
    return path
