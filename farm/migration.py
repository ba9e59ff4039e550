"""Migration: brings the tables of an older edgefarm up to date, after a backup of them.

Nobody but `edgefarm migrate` does that: a command that only looks must not change a farm under the
feet of its workers.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from farm.database import (
    SCHEMA,
    Database,
    hold_alone,
    now,
    reach_database,
    schema_version,
    set_schema_version,
    told_in_words,
    wrong_version,
)
from farm.tables import FILES, JOBS_BY_SUBMITTER, METADATA, PARTS_BY_PREPARATION, UPLOADS
from harness.errors import HarnessError, UsageError

_ALIVE_S = 45.0
"""A worker that was heard within this time still works on the tables."""


def _execute(*statements: str) -> Callable[[sa.Connection], None]:
    def step(connection: sa.Connection) -> None:
        for statement in statements:
            connection.execute(sa.text(statement))

    return step


def _who_asked(connection: sa.Connection) -> None:
    """Since 5: who submitted a job, and how often devices refused a part."""
    sqlite = connection.dialect.name == "sqlite"
    submitter = (
        "json_extract(request, '$.submitter')" if sqlite else "CAST(request AS json)->>'submitter'"
    )
    _execute(
        "ALTER TABLE parts ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN submitter TEXT NOT NULL DEFAULT ''",
        f"UPDATE jobs SET submitter = COALESCE({submitter}, '')",  # noqa: S608  our own words
    )(connection)
    JOBS_BY_SUBMITTER.create(connection)


_STEPS: Sequence[Callable[[sa.Connection], None]] = (
    FILES.create,
    PARTS_BY_PREPARATION.create,
    _execute("ALTER TABLE parts ADD COLUMN differences INTEGER NOT NULL DEFAULT 0"),
    _who_asked,
    UPLOADS.create,
)
"""Step n leads from version n to the next one."""


@dataclass(frozen=True)
class Migrated:
    """What was done.

    Attributes:
        before, after: versions of the tables; equal when there was nothing to do.
        backup: where the tables are kept as they were; None when there was nothing to do.
    """

    before: int
    after: int
    backup: str | None


def migrate(url: str | None = None, *, backup: Path | None = None) -> Migrated:
    """Bring a database up to date. It happens whole, or not at all.

    Args:
        url: as `farm.database.open_database`.
        backup: file for the backup of a SQLite database, by default beside it; Postgres keeps it
            in the database itself, in a schema of its own.

    Raises:
        UsageError: there are no tables, or newer ones; a worker is at work; the backup's file
            exists, or Postgres was given one.
        HarnessError: the database cannot be reached, or the backup cannot be written.
    """
    database = reach_database(url)
    try:
        if backup is not None and not database.is_sqlite:
            raise UsageError("--backup: Postgres keeps the backup in a schema of its own")
        with told_in_words(database), database.begin() as connection:
            return _migrate(database, connection, backup)
    finally:
        database.close()


def _migrate(database: Database, connection: sa.Connection, backup: Path | None) -> Migrated:
    hold_alone(connection)
    found = schema_version(connection)
    if found is None:
        raise UsageError(
            f"database {database.shown} has no tables of edgefarm; they are made when it is first "
            "used"
        )
    if found > SCHEMA:
        raise wrong_version(database, found)
    if found < 1:
        raise HarnessError(
            f"database {database.shown}: its tables say that they are of version {found}, which no "
            "edgefarm made; take a backup of it"
        )
    if found == SCHEMA:
        return Migrated(found, found, None)
    _refuse_workers(connection)
    name = f"schema{found}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    if database.is_sqlite:
        kept = _copy_file(Path(str(database.engine.url.database)), backup, name, found)
    else:
        kept = _copy_tables(connection, f"edgefarm_{name.lower().replace('-', '_')}")
    for step in _STEPS[found - 1 :]:
        step(connection)
    set_schema_version(connection, SCHEMA)
    return Migrated(found, SCHEMA, kept)


def _refuse_workers(connection: sa.Connection) -> None:
    workers = sa.table("workers", sa.column("host"), sa.column("heartbeat"))
    query = sa.select(workers.c.host).where(workers.c.heartbeat > now() - _ALIVE_S)
    alive = sorted(connection.execute(query).scalars())
    if alive:
        raise UsageError(
            f"workers are at work on lab hosts {', '.join(alive)}; stop them first (SIGTERM "
            "drains); one that was killed counts as alive for "
            f"{_ALIVE_S:g} s"
        )


def _copy_file(file: Path, backup: Path | None, name: str, version: int) -> str:
    """A copy of a SQLite file; the caller holds its lock, so that nothing is written meanwhile.

    It gets its name when it is whole: what a killed process leaves must not pass for a backup.
    """
    kept = backup or file.with_name(f"{file.name}.{name}")
    if os.path.lexists(kept):
        raise UsageError(f"--backup {kept}: exists; name a new file")
    partial = kept.with_name(f"{kept.name}.partial")
    try:
        _forget(partial)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
            checked = copy.execute("PRAGMA quick_check").fetchone()
            told = copy.execute("SELECT version FROM farm_schema").fetchone()
        if (checked, told) != (("ok",), (version,)):
            raise HarnessError(
                f"backup {kept}: is damaged ({checked}, {told}); nothing was changed"
            )
        partial.rename(kept)
    except (OSError, sqlite3.Error, HarnessError) as error:
        with suppress(OSError):
            _forget(partial)
        if isinstance(error, HarnessError):
            raise
        said = error.strerror if isinstance(error, OSError) else error
        raise HarnessError(f"backup {kept}: cannot be written: {said}") from error
    return str(kept)


def _forget(partial: Path) -> None:
    """Remove what a killed process left of a backup."""
    for ending in ("", "-journal", "-wal", "-shm"):
        partial.with_name(partial.name + ending).unlink(missing_ok=True)


def _copy_tables(connection: sa.Connection, schema: str) -> str:
    """Copies of all tables in a schema of their own. Not of `files`: its rows are named by their
    content and no migration changes them."""
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    there = set(sa.inspect(connection).get_table_names())
    names = [name for name in METADATA.tables if name in there and name != FILES.name]
    for name in [*names, "farm_schema"]:
        connection.execute(sa.text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
    for name in [*names, "farm_schema"]:
        connection.execute(sa.text(f"CREATE TABLE {schema}.{name} AS TABLE {name}"))
    return f"schema {schema}"
