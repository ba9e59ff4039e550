"""The database: made once by whoever comes first, the same on SQLite and Postgres."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from farm.database import Database, now, open_database
from farm.tables import METADATA
from harness.errors import HarnessError, UsageError


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


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE farm_schema SET version = 99"))
    with pytest.raises(UsageError, match="version 99"):
        open_database(database.url)


@pytest.mark.parametrize("url", ["mysql://a/b", "nonsense", "sqlite+aiosqlite:///x"])
def test_another_kind_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="allowed: sqlite"):
        open_database(url)


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(HarnessError, match="cannot be used") as raised:
        open_database("postgresql://edgefarm:geheim@127.0.0.1:1/farm")
    assert "geheim" not in str(raised.value)
