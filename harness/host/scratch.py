"""Scratch folders under the system's temporary folder: what a killed process leaves there, the next
one removes.

A folder's owner holds a lock on it, which ends with the process however that ends; so neither a
process number that is used again nor another container counts as the owner.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "edgefarm-scratch-"
_YOUNG_S = 60.0
"""A folder may be there for a moment before it is locked."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this user alone, removed at the end of the context."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        handle = _open(folder)
        stack.callback(os.close, handle)  # last: it is locked while it is removed
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # no locks on this file system: nobody removes it
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder


def remove_abandoned() -> int:
    """Remove this user's scratch folders whose owners are gone; how many there were."""
    gone = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # no folder, somebody else's, in use, or gone just now
            gone += _remove(path)
    return gone


def _remove(path: Path) -> bool:
    handle = _open(path)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG_S:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        return True
    finally:
        os.close(handle)


def _open(folder: Path) -> int:
    """A handle of the folder itself; OSError for a link to one."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
