"""Reading files that somebody named: ordinary ones only, and no more of them than was expected.

To open a named pipe waits for whoever writes it, a terminal or a socket may never end, and opening
some devices is an act of its own. So what a name stands for is looked at before it is opened, and
again afterwards.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_plain(path: Path) -> BinaryIO:
    """Open an ordinary file to read its bytes; never waits for another process.

    Raises:
        OSError: it cannot be opened, or is something else, which `strerror` says.
    """
    _check(path, path.stat())
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        _check(path, os.fstat(stream.fileno()))  # it may be another one by now
    except OSError:
        stream.close()
        raise
    return stream


def read_plain(path: Path, most_bytes: int = 16 << 20) -> bytes:
    """What is in an ordinary file.

    Args:
        path: of the file.
        most_bytes: larger ones are refused; what people write by hand is far smaller than this.

    Raises:
        OSError: as of `open_plain`, or it is larger.
    """
    with open_plain(path) as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes} bytes", str(path))
    return content


def odd_kind(mode: int) -> str:
    """What a file is, by its mode, that is neither an ordinary one nor a folder; else empty."""
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else _kind(mode)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        said = f"is {_kind(status.st_mode)}; expected an ordinary file"
        raise OSError(errno.EINVAL, said, str(path))


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "no ordinary file")
