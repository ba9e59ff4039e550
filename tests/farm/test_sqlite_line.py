"""SQLite's writers stand in line: none starves, and a killed one leaves the line."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from farm import sqlite_line
from farm.database import open_database
from farm.tables import WORKERS
from harness.errors import HarnessError

HELD = """
import sys, time
from farm.database import open_database
with open_database(sys.argv[1]).begin() as connection:
    connection.exec_driver_sql("UPDATE workers SET pid = 0")
    print("held", flush=True)
    time.sleep(60)
"""


def test_every_writer_has_its_turn(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'farm.sqlite'}"
    databases = [open_database(url) for _ in range(2)]
    turns: Counter[int] = Counter()

    def write(number: int) -> None:
        for turn in range(20):
            with databases[number % 2].begin() as connection:
                connection.execute(
                    WORKERS.insert().values(
                        host=f"{number}-{turn}", instance="", machine="", pid=0,
                        started=0.0, heartbeat=0.0,
                    )
                )  # fmt: skip
            turns[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    with databases[0].begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(WORKERS)).scalar() == 160
    assert set(turns.values()) == {20}
    for database in databases:
        database.close()


def test_a_writer_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'farm.sqlite'}"
    database = open_database(url)
    child = subprocess.Popen(
        [sys.executable, "-c", HELD, url], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    monkeypatch.setattr(sqlite_line, "WAIT_S", 0.2)
    said = rf"database is locked: .*-line: process {child.pid} \(.*python.*\) has had it for 0.2 s"
    for error in (HarnessError, OperationalError):
        with pytest.raises(error, match=said), database.begin() as connection:
            connection.execute(WORKERS.delete())
    monkeypatch.undo()
    child.kill()
    child.wait()
    child.stdout.close()
    for _ in range(2):  # those who gave up take no turn
        with database.begin() as connection:
            connection.execute(WORKERS.delete())
    database.close()


def test_a_killed_writer_leaves_the_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'farm.sqlite'}"
    database = open_database(url)
    child = subprocess.Popen(
        [sys.executable, "-c", HELD, url], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with database.begin() as connection:
        connection.execute(WORKERS.delete())
    database.close()
