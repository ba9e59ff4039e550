"""A line for SQLite's one writer, for SQLite itself lets those who wait sleep and try again.

A connection takes a lock on a file beside the database before its first write and gives it back
when it returns to the pool; whoever waits wakes up at once, in any process. SQLite's own lock still
decides: a writer that does not come by here is only less lucky.
"""

import fcntl
import os
from typing import Any

import sqlalchemy as sa

_KEY = "edgefarm_line"
_WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN ")


def stand_in_line(engine: sa.Engine, path: str) -> None:
    """Let the writers of an engine stand in line.

    Args:
        engine: of a SQLite file; its connections are given back after every transaction.
        path: of the lock's file; made if it is not there.
    """

    def enter(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if _KEY not in connection.info and statement.lstrip()[:6].upper() in _WRITES:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)  # a killed process gives it back, too
            connection.info[_KEY] = handle

    def leave(_connection: object, record: Any) -> None:  # noqa: ANN401  of SQLAlchemy's pool
        handle = record.info.pop(_KEY, None)
        if handle is not None:
            os.close(handle)

    sa.event.listen(engine, "before_cursor_execute", enter)
    sa.event.listen(engine, "checkin", leave)
