"""The farm's database: SQLite under the home folder, or Postgres by a URL; the same code on both.

`open_database` makes the tables on first use. Tables of another version it leaves alone:
`farm.migration` brings older ones up to date.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from farm.sqlite_line import stand_in_line
from farm.tables import METADATA
from harness.errors import HarnessError, UsageError
from harness.host.home import home

FILE_NAME = "farm.sqlite"
SCHEMA = 6
"""Version of the tables; see `farm.migration`."""

_LOCK = 0x65646765  # of Postgres, while tables are made
_BUSY_S = 60
_HAS_SUBSECONDS = (3, 42)  # SQLite's unixepoch('subsec'); Debian 12 has 3.40
_POSTGRES = {
    "client_encoding": "utf8",  # a database without an encoding would give bytes for texts
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "options": f"-c statement_timeout={_BUSY_S * 1000} "
    f"-c idle_in_transaction_session_timeout={_BUSY_S * 1000}",
}
"""No wait without an end: for the server, for a lock, or for a client that sleeps with one."""

_POOL = 16
_SQLITE_POOL = 3
"""Threads wait better for a connection than SQLite waits, in sleeps, for its one writer."""

_VERSION = sa.Table("farm_schema", sa.MetaData(), sa.Column("version", sa.Integer, nullable=False))


class now(FunctionElement[float]):  # noqa: N801  reads as SQL's own functions do
    """Seconds since 1970 by the database's clock: the one clock that all lab hosts share."""

    type = sa.Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(*_args: Any, **_kwargs: Any) -> str:  # noqa: ANN401  SQLAlchemy's own signature
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(*_args: Any, **_kwargs: Any) -> str:  # noqa: ANN401  SQLAlchemy's own signature
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@dataclass(frozen=True)
class Database:
    """An open database.

    Attributes:
        url: as it was named, without a password hidden.
        engine: its connections; `begin` gives one.
    """

    url: str
    engine: sa.Engine

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file that the processes of one machine share."""
        return self.engine.dialect.name == "sqlite"

    @property
    def shown(self) -> str:
        """Its URL for people, without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    def begin(self) -> Any:  # noqa: ANN401  SQLAlchemy's context manager, a Connection inside
        """A transaction: committed at the end of the context, rolled back by an exception."""
        return self.engine.begin()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def default_url() -> str:
    """The file in edgefarm's home folder."""
    return f"sqlite:///{home() / FILE_NAME}"


def open_database(url: str | None = None) -> Database:
    """Open the database; an empty one gets its tables.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``; None for the file in
            the home folder.

    Raises:
        UsageError: not a URL of a database that edgefarm works with, or its tables are of another
            version.
        HarnessError: it cannot be reached.
    """
    database = reach_database(url)
    try:
        with told_in_words(database):
            _check_encoding(database)
            _make_tables(database)
    except HarnessError:
        database.close()
        raise
    return database


def _check_encoding(database: Database) -> None:
    """Refuse a Postgres database that keeps bytes in place of texts, as `initdb` makes one where
    no locale is set."""
    if database.is_sqlite:
        return
    with database.begin() as connection:
        encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise UsageError(
            f"database {database.shown}: its encoding is {encoding}; expected UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def reach_database(url: str | None = None) -> Database:
    """A database as it is, its tables of whatever version; nothing is read yet.

    Raises:
        UsageError: not a URL of a database that edgefarm works with.
    """
    named = url or default_url()
    return Database(named, _engine(named))


@contextmanager
def told_in_words(database: Database) -> Iterator[None]:
    """Turn what goes wrong in the database into a HarnessError that names it."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise HarnessError(f"database {database.shown}: cannot be used: {reason}") from error


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
            raise UsageError(
                f"database URL of kind {parsed.drivername!r}; allowed: sqlite:///FILE, "
                "postgresql://USER@HOST/NAME"
            )
        sqlite = parsed.drivername == "sqlite"
        engine = sa.create_engine(
            parsed,
            pool_size=_SQLITE_POOL if sqlite else _POOL,
            max_overflow=0 if sqlite else _POOL,
            pool_timeout=_BUSY_S,
            pool_pre_ping=not sqlite,
            connect_args={} if sqlite else _POSTGRES,
        )
    except ArgumentError as error:
        raise UsageError(
            f"database URL: {error}; allowed: sqlite:///FILE, postgresql://…"
        ) from error
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            "Postgres needs the driver psycopg: pip install 'edgefarm[postgres]'"
        ) from error
    if sqlite:
        sa.event.listen(engine, "connect", _set_up_sqlite)
        if parsed.database not in {None, "", ":memory:"}:
            stand_in_line(engine, f"{parsed.database}-line")
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  of the DBAPI
    """Write-ahead logging lets readers go on while one writes; a killed process loses nothing.

    A transaction that writes takes the lock at its first write and waits for it, for an upgrade
    from reading to writing would fail at once when another was faster.
    """
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if sqlite3.sqlite_version_info < _HAS_SUBSECONDS:
        connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    """What DBOS asks SQLite for on Python 3.12 and newer; an older SQLite would answer NULL."""
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}): expected 'subsec'")
    return round(time.time(), 3)


def _make_tables(database: Database) -> None:
    with database.begin() as connection:
        if schema_version(connection) == SCHEMA:
            return
    with database.begin() as connection:
        hold_alone(connection)
        found = schema_version(connection)
        if found is None:
            METADATA.create_all(connection)
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version=SCHEMA))
    if found not in (None, SCHEMA):
        raise wrong_version(database, found)


def wrong_version(database: Database, found: int) -> UsageError:
    """The error for tables of another version than this edgefarm works with."""
    told = f"database {database.shown} has tables of version {found}, this edgefarm needs {SCHEMA}"
    if found > SCHEMA:
        return UsageError(f"{told}; install the newer edgefarm that made them")
    named = "" if database.url == default_url() else f" --database {database.shown}"
    return UsageError(
        f"{told}; stop its workers and servers, then run `edgefarm migrate{named}`, which keeps a "
        "backup"
    )


def hold_alone(connection: sa.Connection) -> None:
    """Let nobody else make or change tables until the end of the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def set_schema_version(connection: sa.Connection, version: int) -> None:
    """Write down which version the tables are of."""
    connection.execute(_VERSION.update().values(version=version))


def distinct_values(column: sa.Column[str], where: sa.ColumnElement[bool]) -> sa.Select[str]:
    """Each value of a text column once, smallest first: a walk along an index that begins with the
    columns of `where` and then has this one, as long as there are values, not rows."""
    smallest = sa.func.min(column)
    seen = sa.select(smallest.label("value")).where(where).cte("seen", recursive=True)
    following = sa.select(smallest).where(where, column > seen.c.value).scalar_subquery()
    seen = seen.union_all(sa.select(following).where(seen.c.value.is_not(None)))
    return sa.select(seen.c.value).where(seen.c.value.is_not(None))


def schema_version(connection: sa.Connection) -> int | None:
    """Version of the tables; None when there are none yet."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    found: int = connection.execute(sa.select(_VERSION.c.version)).scalar_one()
    return found
