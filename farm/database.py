"""The farm's database: SQLite under the home folder, or Postgres by a URL; the same code on both.

`open_database` makes the tables on first use and brings older ones up to date.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from farm.sqlite_line import stand_in_line
from farm.tables import FILES, METADATA, PARTS_BY_PREPARATION
from harness.errors import HarnessError, UsageError
from harness.home import home

FILE_NAME = "farm.sqlite"
SCHEMA = 4
"""Version of the tables; each step of `_MIGRATIONS` leads to the next one."""

_MIGRATIONS: Sequence[Callable[[sa.Connection], object]] = (
    FILES.create,
    PARTS_BY_PREPARATION.create,
    lambda connection: connection.execute(
        sa.text("ALTER TABLE parts ADD COLUMN differences INTEGER NOT NULL DEFAULT 0")
    ),
)
_LOCK = 0x65646765  # of Postgres, while tables are made
_BUSY_S = 60
_POSTGRES = {
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
    """Open the database, its tables made or brought up to date.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``; None for the file in
            the home folder.

    Raises:
        UsageError: not a URL of a database that edgefarm works with, or made by a newer edgefarm.
        HarnessError: it cannot be reached.
    """
    named = url or default_url()
    database = Database(named, _engine(named))
    try:
        _migrate(database)
    except SQLAlchemyError as error:
        shown = database.engine.url.render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", None) or error).strip()
        database.close()
        raise HarnessError(f"database {shown}: cannot be used: {reason}") from error
    except UsageError:
        database.close()
        raise
    return database


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


def _migrate(database: Database) -> None:
    with database.begin() as connection:
        if _version(connection) == SCHEMA:
            return
    with database.begin() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        found = _version(connection)
        if found is None:
            METADATA.create_all(connection)
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version=SCHEMA))
            return
        if found > SCHEMA:
            raise UsageError(
                f"the database has tables of version {found}, this edgefarm knows {SCHEMA}; "
                "install the newer edgefarm"
            )
        for step in _MIGRATIONS[found - 1 :]:
            step(connection)
        connection.execute(_VERSION.update().values(version=SCHEMA))


def distinct_values(column: sa.Column[str], where: sa.ColumnElement[bool]) -> sa.Select[str]:
    """Each value of a text column once, smallest first: a walk along an index that begins with the
    columns of `where` and then has this one, as long as there are values, not rows."""
    smallest = sa.func.min(column)
    seen = sa.select(smallest.label("value")).where(where).cte("seen", recursive=True)
    following = sa.select(smallest).where(where, column > seen.c.value).scalar_subquery()
    seen = seen.union_all(sa.select(following).where(seen.c.value.is_not(None)))
    return sa.select(seen.c.value).where(seen.c.value.is_not(None))


def _version(connection: sa.Connection) -> int | None:
    """Version of the tables; None when there are none yet."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    found: int = connection.execute(sa.select(_VERSION.c.version)).scalar_one()
    return found
