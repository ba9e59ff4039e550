"""A lock between processes that ends with its holder, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host.progress import Progress, no_progress


@contextmanager
def locked(file: Path, reason: str, progress: Progress = no_progress) -> Iterator[int]:
    """Hold `file`'s lock; while another process has it, report `reason` and wait.

    Yields the lock's file descriptor: a program that inherits it holds the lock too.
    """
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting: {reason}", 0, None)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()
