"""The end of a worker: it waits for jobs, and for nothing that has no end."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from farm.database import Database, open_database
from farm.faults import Fault
from farm.jobs import submit
from farm.preparations import unfinished
from farm.tables import DEVICES
from farm.transports import connect
from farm.worker import Settings, serve
from harness.device import Connect, Device
from tests.farm.jobs_in import HOST, add_devices, request
from tests.farm.services import ROOT
from tests.farm.test_worker import Echo

SLOW = f"""
import sys, time
from harness.cli import farm as commands

class Slow(commands.Evaluation):
    def prepare(self, request, device):
        print("preparing", flush=True)
        time.sleep(600)

commands.Evaluation = Slow
commands.worker(host={HOST!r}, preparers=1, memory=1.0, traces=None, database=sys.argv[1])
"""


def test_a_preparation_does_not_keep_the_worker_and_goes_on_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    (tmp_path / "farm.toml").write_text(
        '[devices.a]\ntransport = "local"\ntargets = ["host-litert"]\n'
    )
    url = f"sqlite:///{tmp_path / 'farm.sqlite'}"
    database = open_database(url)
    add_devices(database, ["a"])
    submit(database, request())
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "preparing\n"
    child.send_signal(signal.SIGTERM)
    try:
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.stdout.close()
    with database.begin() as connection:
        assert len(unfinished(connection, HOST)) == 1
    database.close()


def test_a_probe_that_hangs_does_not_keep_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    stop, hangs, end = threading.Event(), threading.Event(), threading.Event()

    def probe(_device: Device, _connect: Connect) -> Fault | None:
        hangs.set()
        end.wait(120)
        return None

    device = Device("a", "local", ("host-litert",), workdir=str(tmp_path / "a"))
    serving = threading.Thread(
        target=serve,
        args=(database, HOST, [device]),
        kwargs={
            "connect": connect, "work": Echo(), "probe": probe, "stop": stop,
            "settings": Settings(ttl_s=3.0, poll_s=0.1, drain_s=0.5),
        },
    )  # fmt: skip
    serving.start()
    try:
        assert hangs.wait(60)
        stop.set()
        serving.join(30)
        assert not serving.is_alive()
        assert holder(database) is not None  # until the lease expires
    finally:
        end.set()
        serving.join()
    deadline = time.monotonic() + 60
    while holder(database) is not None:  # the probe's thread ends, too
        assert time.monotonic() < deadline
        time.sleep(0.05)
    database.close()


def holder(database: Database) -> str | None:
    with database.begin() as connection:
        found: str | None = connection.execute(sa.select(DEVICES.c.holder)).scalar_one()
    return found
