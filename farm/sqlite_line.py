"""A line for SQLite's one writer, for SQLite itself lets those who wait sleep and try again.

A connection takes a lock on a file beside the database before its first write and gives it back
when it returns to the pool; whoever waits wakes up at once, in any process. SQLite's own lock still
decides: a writer that does not come by here is only less lucky.
"""

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from harness.errors import HarnessError

WAIT_S = 60.0
"""How long a writer stands in line; whoever is before it has hung by then."""
_TRIES, _PAUSE_S = 10, 0.0003
"""Most writers are done in a millisecond: a thread that waits for that doubles the wait (p95)."""

_KEY = "edgefarm_line"
_WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN ")
_SHOWN_CHARS = 80


class LineHeld(HarnessError, OperationalError):
    """A writer had the database for too long; the message names its process.

    It is the database's trouble as SQLAlchemy tells it, too, so that whoever tries again after that
    does so after this.
    """

    def __init__(self, message: str) -> None:
        OperationalError.__init__(self, None, None, TimeoutError(message))

    def __str__(self) -> str:
        return str(self.orig)


def stand_in_line(engine: sa.Engine, path: str) -> None:
    """Let the writers of an engine stand in line.

    Args:
        engine: of a SQLite file; its connections are given back after every transaction. A write
            raises LineHeld after `WAIT_S`.
        path: of the lock's file; made if it is not there.
    """

    def enter(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if _KEY not in connection.info and statement.lstrip()[:6].upper() in _WRITES:
            connection.info[_KEY] = _take(path)

    def leave(_connection: object, record: Any) -> None:  # noqa: ANN401  of SQLAlchemy's pool
        handle = record.info.pop(_KEY, None)
        if handle is not None:
            os.close(handle)

    sa.event.listen(engine, "before_cursor_execute", enter)
    sa.event.listen(engine, "checkin", leave)


def _take(path: str) -> int:
    """The lock of a file, as a handle whose end gives it back, even that of a killed process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        time.sleep(_PAUSE_S)
    if not _Waiting(handle).within(WAIT_S):
        raise LineHeld(
            f"the database is locked: {path}: {_holder(path)} has had it for {WAIT_S:g} s; "
            "if it hangs, end it: what it had not committed is undone"
        )
    return handle


class _Waiting:
    """A thread that waits for the lock, because nothing ends that wait: who gives up, leaves."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._use = threading.Lock()
        self._taken = threading.Event()
        self._given_up = False
        threading.Thread(target=self._wait, name="line", daemon=True).start()

    def within(self, wait_s: float) -> bool:
        """Whether the lock was taken in that time; if not, the handle is closed, now or later."""
        try:
            taken = self._taken.wait(wait_s)
        except BaseException:  # Ctrl-C
            self._give_up()
            raise
        return taken or not self._give_up()

    def _wait(self) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        with self._use:
            self._taken.set()
            if self._given_up:
                os.close(self._handle)

    def _give_up(self) -> bool:
        """Leave the handle to the thread; False when it was faster."""
        with self._use:
            self._given_up = not self._taken.is_set()
            return self._given_up


def _holder(path: str) -> str:
    """The process that has a file's lock, as the kernel's table of locks names it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = str(Path(path).stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                words = Path(f"/proc/{int(fields[4])}/cmdline").read_text().replace("\0", " ")
                return f"process {fields[4]} ({' '.join(words.split())[:_SHOWN_CHARS]})"
    return "a process that cannot be seen from here"
