"""The farm as its users have it: a worker, a server, a client that has only HTTP and a token, and
a night with the example's file."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from farm.database import Database, open_database
from farm.inventory import add_device
from farm.tables import DEVICES, PARTS
from harness.device import Device
from harness.records import Outcome, load_run
from tests.oracle.models import conv

ROOT = Path(__file__).resolve().parents[2]
EDGEFARM = [sys.executable, "-m", "harness.cli"]


@dataclass(frozen=True)
class Farm:
    """A running farm; `environment` is that of its machine."""

    environment: dict[str, str]
    database: Database
    url: str

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return call(self.environment, *words)


def call(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*EDGEFARM, *words], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )


@contextmanager
def service(environment: dict[str, str], *words: str) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [*EDGEFARM, *words], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(60)


def first_line_with(child: "subprocess.Popen[str]", pattern: str) -> "re.Match[str]":
    assert child.stderr is not None
    for line in child.stderr:
        if found := re.search(pattern, line):
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return found
    raise AssertionError(f"it ended with {child.wait()}")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    home = tmp_path_factory.mktemp("farm")
    environment = {**os.environ, "EDGEFARM_HOME": str(home), "COLUMNS": "250"}
    environment.pop("EDGEFARM_DATABASE", None)
    workdir = str(home / "work-b")
    add_device(
        home / "farm.toml",
        Device("b", "local", ("host-litert",), workdir=workdir, python=sys.executable),
    )
    with (
        service(environment, "worker", "--host", "lab") as worker,
        service(environment, "server", "--port", "0") as server,
    ):
        first_line_with(worker, '"message": "serving"')
        url = first_line_with(server, r"http://127\.0\.0\.1:\d+")[0]
        database = open_database(f"sqlite:///{home / 'farm.sqlite'}")
        yield Farm(environment, database, url)
        database.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_is_submitted_from_another_machine(farm: Farm, tmp_path: Path) -> None:
    token = farm.run("token", "create", "someone").stdout.strip()
    elsewhere = {**os.environ, "EDGEFARM_HOME": str(tmp_path / "home")}
    elsewhere |= {"EDGEFARM_SERVER": farm.url, "EDGEFARM_TOKEN": token}
    made = conv(shape=(1, 6, 6, 3), channels=5)
    (tmp_path / "conv.tflite").write_bytes(made.data)
    np.savez(tmp_path / "data.npz", in0=made.sample(0)[0])
    submitted = call(
        elsewhere, "submit", str(tmp_path / "conv.tflite"), "--data", str(tmp_path / "data.npz"),
        "--target", "host-litert", "--on", "name=b", "--quick", "--wait",
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    found = re.search(r"job (\S+)", submitted.stderr)
    assert found is not None
    assert "b  progress  " in submitted.stderr
    results = call(elsewhere, "results", found[1], "--out", str(tmp_path / "out"))
    assert results.returncode == 0, results.stderr
    assert (tmp_path / "out" / "report.html").exists()
    (path,) = (tmp_path / "out").rglob("run.json")
    run = load_run(path)
    assert run.outcome is Outcome.PASS
    assert run.exactness is not None
    assert run.exactness.verdict == "exact"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_night_with_a_device_quarantined_half_way(farm: Farm, tmp_path: Path) -> None:
    quarantine = threading.Thread(target=quarantine_at_work, args=(farm.database, "b"))
    quarantine.start()
    night = farm.run("nightly", "run", "examples/nightly.toml", "--out", str(tmp_path))
    quarantine.join()
    assert night.returncode == 3, night.stdout + night.stderr
    assert "nightly example: 3 PASS, 1 CANCELLED" in night.stdout
    assert "b is quarantined (by hand: broken)" in night.stdout
    assert len(list(tmp_path.rglob("run.json"))) == 3
    (junit,) = tmp_path.rglob("junit.xml")
    assert 'tests="4" failures="0" errors="1"' in junit.read_text()


def quarantine_at_work(database: Database, name: str) -> None:
    """As soon as the device has its first part; what that brings still counts."""
    running = sa.select(PARTS.c.id).where(PARTS.c.device == name, PARTS.c.state == "running")
    for _ in range(4000):
        time.sleep(0.05)
        with database.begin() as connection:
            if connection.execute(running).first() is not None:
                broken = {"health": "quarantined", "cause": "by hand: broken"}
                connection.execute(DEVICES.update().where(DEVICES.c.name == name).values(**broken))
                return
