"""What every reader of a model file shares: its bytes, and the one error that broken ones become.

The file is untrusted.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ModelError, UsageError
from harness.host.plain_files import open_plain

MAX_FILE_BYTES = 1 << 31
"""The limit of the flatbuffer format, whose offsets are signed."""

TFLITE = "TFLite model"
PROGRAM = "ExecuTorch program"


class ReadError(Exception):
    """The file is broken; the message is the reason."""


class NotReadable(ReadError):
    """A part of the file is in a form that is not known here; it becomes an unknown node. Says what
    of it."""


_BROKEN = (
    ReadError,
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    AttributeError,
    AssertionError,
)
"""What the readers, a schema's accessors and numpy raise on bytes that are not what they claim."""


def read_content(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        UsageError: it cannot be read.
        ModelError: it is larger than the format allows.
    """
    try:
        with open_plain(path) as stream:
            if os.fstat(stream.fileno()).st_size > MAX_FILE_BYTES:
                raise ModelError(f"{path}: larger than {MAX_FILE_BYTES} bytes, the format's limit")
            return stream.read()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def content_of(source: Path | bytes, where: str) -> tuple[bytes, str]:
    """The bytes of a file or the bytes given, and what to call them in messages."""
    if isinstance(source, Path):
        return read_content(source), str(source)
    return source, where


@contextmanager
def naming_what_is_broken(where: str, kind: str) -> Iterator[None]:
    """Whatever a broken file raises within becomes a ModelError that names the file."""
    try:
        yield
    except _BROKEN as error:
        reason = str(error) if isinstance(error, ReadError) else f"broken: {error}"
        raise ModelError(f"{where}: not a usable {kind}: {reason}") from error
