"""The database: made once by whoever comes first, the same on SQLite and Postgres."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from farm.database import Database, now, open_database
from farm.tables import METADATA
from harness.errors import HarnessError, UsageError
from tests.farm.databases import create_database


def test_many_may_open_it_first(database_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_database(database_url), range(8)))
    try:
        assert set(METADATA.tables) <= set(sa.inspect(opened[0].engine).get_table_names())
    finally:
        for database in opened:
            database.close()


def test_its_clock_is_in_seconds(database: Database) -> None:
    before = time.time()
    with database.begin() as connection:
        at = connection.execute(sa.select(now())).scalar_one()
    assert before - 1 <= at <= time.time() + 1


def test_an_old_sqlite_has_the_clock_that_the_engine_of_workflows_asks_for(
    tmp_path: Path,
) -> None:
    """Before 3.42 it answers NULL, and no worker starts on Python 3.12 and newer."""
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    before = time.time()
    with database.begin() as connection:
        at = connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar_one()
    database.close()
    assert before - 0.001 <= at <= time.time() + 0.001


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE farm_schema SET version = 99"))
    with pytest.raises(UsageError, match="version 99"):
        open_database(database.url)


def test_a_database_without_an_encoding_is_refused(postgres: str) -> None:
    plain = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    url = create_database(postgres, f"t{uuid4().hex}", plain)
    with pytest.raises(UsageError, match=r"encoding is SQL_ASCII; expected UTF8"):
        open_database(url)


@pytest.mark.parametrize("url", ["mysql://a/b", "nonsense", "sqlite+aiosqlite:///x"])
def test_another_kind_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="allowed: sqlite"):
        open_database(url)


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(HarnessError, match="cannot be used") as raised:
        open_database("postgresql://edgefarm:geheim@127.0.0.1:1/farm")
    assert "geheim" not in str(raised.value)
