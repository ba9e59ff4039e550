"""Migration: an older database is named and left alone until it is asked for, with a backup."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from farm.database import SCHEMA, Database, open_database
from farm.devices import known_devices
from farm.jobs import recent_jobs, status, submit
from farm.migration import migrate
from farm.tables import WORKERS
from harness.errors import HarnessError, UsageError
from tests.farm.jobs_in import add_devices, request

OLDER = {
    5: ("DROP TABLE uploads",),
    4: (
        "DROP INDEX jobs_by_submitter",
        "ALTER TABLE jobs DROP COLUMN submitter",
        "ALTER TABLE parts DROP COLUMN refusals",
    ),
    3: ("ALTER TABLE parts DROP COLUMN differences",),
    2: ("DROP INDEX parts_by_preparation",),
    1: ("DROP TABLE files",),
}
"""What takes the tables back from the version after to the one that is named."""


def make_older(database: Database, version: int) -> None:
    with database.begin() as connection:
        for step in range(SCHEMA - 1, version - 1, -1):
            for statement in OLDER[step]:
                connection.execute(sa.text(statement))
        connection.execute(sa.text("UPDATE farm_schema SET version = :to"), {"to": version})


@pytest.fixture
def job(database: Database) -> str:
    """One that ann has submitted."""
    add_devices(database, ["a1"])
    return submit(database, request(submitter="ann"))


@pytest.mark.parametrize("version", [1, 4])
def test_an_older_one_is_named_and_left_alone(database: Database, job: str, version: int) -> None:
    make_older(database, version)
    for _ in range(2):
        with pytest.raises(UsageError, match=f"version {version}.*`edgefarm migrate --database"):
            open_database(database.url)
    with database.begin() as connection:
        found = connection.execute(sa.text("SELECT version FROM farm_schema")).scalar_one()
        columns = {one["name"] for one in sa.inspect(connection).get_columns("jobs")}
    assert (found, "submitter" in columns, bool(job)) == (version, False, True)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_it_is_brought_up_to_date_and_kept_as_it_was(
    database: Database, job: str, version: int
) -> None:
    make_older(database, version)
    done = migrate(database.url)
    assert (done.before, done.after) == (version, SCHEMA)
    opened = open_database(database.url)
    assert status(opened, job).request.submitter == "ann"
    assert [one.id for one in recent_jobs(opened, submitter="ann")] == [job]
    submit(opened, request(submitter="bob"))
    opened.close()
    kept = str(done.backup)
    assert jobs_kept(database, kept) == [(job, version)]
    assert migrate(database.url) == type(done)(SCHEMA, SCHEMA, None)


def jobs_kept(database: Database, kept: str) -> list[tuple[str, int]]:
    """Jobs in a backup, and the version of its tables."""
    if database.is_sqlite:
        connection = sqlite3.connect(kept)
        assert Path(kept).stat().st_mode & 0o777 == 0o600
        found = connection.execute("SELECT id, version FROM jobs, farm_schema").fetchall()
        connection.close()
        return found
    schema = kept.removeprefix("schema ")
    query = f"SELECT id, version FROM {schema}.jobs, {schema}.farm_schema"  # noqa: S608
    with database.begin() as opened:
        return [tuple(row) for row in opened.execute(sa.text(query))]


def test_not_under_the_feet_of_a_worker(database: Database) -> None:
    with database.begin() as connection:
        row = {"instance": "x", "machine": "m", "pid": 1, "started": 0.0, "draining": False}
        connection.execute(WORKERS.insert().values(host="lab-1", heartbeat=4e9, **row))
    make_older(database, 4)
    with pytest.raises(UsageError, match="at work on lab hosts lab-1"):
        migrate(database.url)
    with pytest.raises(UsageError, match="version 4"):
        open_database(database.url)


def test_a_newer_one_is_refused(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE farm_schema SET version = 99"))
    with pytest.raises(UsageError, match=r"version 99.*install the newer"):
        migrate(database.url)


@pytest.mark.parametrize("version", [0, -1, -(2**31)])
def test_a_version_that_none_made_is_told(database: Database, version: int) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE farm_schema SET version = :to"), {"to": version})
    with pytest.raises(HarnessError, match=f"are of version {version}, which no edgefarm made"):
        migrate(database.url)
    with pytest.raises(UsageError, match=f"version {version}"):
        open_database(database.url)


def test_an_empty_one_needs_none(database_url: str) -> None:
    with pytest.raises(UsageError, match="no tables of edgefarm"):
        migrate(database_url)
    opened = open_database(database_url)
    with opened.begin() as connection:
        assert known_devices(connection) == []
    opened.close()
    assert migrate(database_url).backup is None


def test_without_a_backup_nothing_is_changed(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    make_older(database, 4)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        migrate(database.url, backup=taken)
    with pytest.raises(HarnessError, match="cannot be written"):
        migrate(database.url, backup=tmp_path / "no" / "such" / "folder")
    assert taken.read_text() == "mine"
    with pytest.raises(UsageError, match="version 4"):
        open_database(database.url)
    assert migrate(database.url, backup=tmp_path / "kept").backup == str(tmp_path / "kept")
    database.close()


_KILLED = """
import os, signal, sys
from farm import migration
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
sqlite3 = migration.sqlite3
class Dies(sqlite3.Connection):
    def execute(self, text, *more):
        return die() if "quick_check" in text else super().execute(text, *more)
connect = sqlite3.connect
if sys.argv[2] == "backup":
    sqlite3.connect = lambda file: connect(file, factory=Dies)
else:
    migration._STEPS = (*migration._STEPS[:-1], die)
migration.migrate(sys.argv[1], **({"backup": migration.Path(sys.argv[3])} if sys.argv[3:] else {}))
"""


@pytest.mark.parametrize("point", ["backup", "step"])
@pytest.mark.parametrize("named", [False, True])
def test_a_killed_one_changes_nothing_and_leaves_no_half_backup(
    tmp_path: Path, point: str, named: bool
) -> None:
    file = tmp_path / "farm.sqlite"
    database = open_database(f"sqlite:///{file}")
    make_older(database, 1)
    database.close()
    more = [str(tmp_path / "farm.sqlite.schema1-mine")] * named
    told = (database.url, point, *more)
    ended = subprocess.run([sys.executable, "-P", "-c", _KILLED, *told], check=False)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(UsageError, match="version 1"):
        open_database(database.url)
    whole = [path for path in tmp_path.glob("*.schema1-*") if ".partial" not in path.name]
    assert len(whole) == (point == "step")
    for path in whole:
        assert jobs_kept(database, str(path)) == []
    free = tmp_path / "farm.sqlite.schema1-mine" if point == "backup" else tmp_path / "again"
    assert migrate(database.url, backup=free).after == SCHEMA
    assert [path.name for path in tmp_path.glob("*mine.partial*")] == []
