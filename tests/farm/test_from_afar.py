"""The farm as its users have it: a worker, a server, a client that has only HTTP and a token, and
a night with the example's file.

``EDGEFARM_TEST_FARM=1 pytest -s tests/farm/test_from_afar.py`` runs the long ones, too: minutes.
"""

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
from harness.records import Outcome, Run, load_run
from tests.farm.services import call, service
from tests.oracle.models import conv

takes_minutes = pytest.mark.skipif(
    not os.environ.get("EDGEFARM_TEST_FARM"), reason="takes minutes; set EDGEFARM_TEST_FARM=1"
)


@dataclass(frozen=True)
class Farm:
    """A running farm; `environment` is that of its machine."""

    environment: dict[str, str]
    database: Database
    url: str

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return call(self.environment, *words)


@contextmanager
def running_farm(home: Path, device: Device) -> Iterator[Farm]:
    """A worker with a device, and a server, as processes of their own."""
    environment = {**os.environ, "EDGEFARM_HOME": str(home), "COLUMNS": "250"}
    environment.pop("EDGEFARM_DATABASE", None)
    add_device(home / "farm.toml", device)
    with (
        service(environment, "worker", "--host", "lab", until='"message": "serving"'),
        service(environment, "server", "--port", "0", until=r"http://127\.0\.0\.1:\d+") as url,
    ):
        database = open_database(f"sqlite:///{home / 'farm.sqlite'}")
        yield Farm(environment, database, url)
        database.close()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    home = tmp_path_factory.mktemp("farm")
    workdir = str(home / "work-b")
    device = Device("b", "local", ("host-litert",), workdir=workdir, python=sys.executable)
    with running_farm(home, device) as running:
        yield running


def submit_from_elsewhere(farm: Farm, folder: Path, *words: str) -> tuple[str, list[Run]]:
    """What `submit --wait` said on a machine that has the URL and a token, and the runs."""
    token = farm.run("token", "create", "someone").stdout.strip()
    elsewhere = {**os.environ, "EDGEFARM_HOME": str(folder / "home")}
    elsewhere |= {"EDGEFARM_SERVER": farm.url, "EDGEFARM_TOKEN": token}
    submitted = call(elsewhere, "submit", *words, "--quick", "--wait")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    found = re.search(r"job (\S+)", submitted.stderr)
    assert found is not None
    results = call(elsewhere, "results", found[1], "--out", str(folder / "out"))
    assert results.returncode == 0, results.stderr
    assert (folder / "out" / "report.html").exists()
    runs = [load_run(path) for path in (folder / "out").rglob("run.json")]
    return submitted.stderr + submitted.stdout + results.stdout, runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_is_submitted_from_another_machine(farm: Farm, tmp_path: Path) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=5)
    (tmp_path / "conv.tflite").write_bytes(made.data)
    np.savez(tmp_path / "data.npz", in0=made.sample(0)[0])
    said, (run,) = submit_from_elsewhere(
        farm, tmp_path, str(tmp_path / "conv.tflite"), "--data", str(tmp_path / "data.npz"),
        "--target", "host-litert", "--on", "name=b",
    )  # fmt: skip
    assert "b  progress  " in said
    assert run.outcome is Outcome.PASS
    assert run.exactness is not None
    assert run.exactness.verdict == "exact"


@takes_minutes
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_efficientnet_on_a_board_from_another_machine(cortex_a76: Device, tmp_path: Path) -> None:
    (tmp_path / "farm").mkdir()
    began = time.monotonic()
    with running_farm(tmp_path / "farm", cortex_a76) as farm:
        said, (run,) = submit_from_elsewhere(
            farm, tmp_path, "zoo:efficientnet-lite0", "--target", "arm-neon-litert",
            "--recipe", "static_wi8_ai8", "--samples", "4",
        )  # fmt: skip
    print(f"\n{said}\n{time.monotonic() - began:.0f} s")
    assert run.outcome is Outcome.PASS
    assert run.exactness is not None
    assert run.exactness.verdict == "exact"


@takes_minutes
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_example_night_with_a_device_quarantined_half_way(farm: Farm, tmp_path: Path) -> None:
    quarantine = threading.Thread(target=quarantine_at_work, args=(farm.database, "b"))
    quarantine.start()
    night = farm.run("nightly", "run", "examples/nightly.toml", "--out", str(tmp_path))
    quarantine.join()
    print(f"\n{night.stdout}exit code {night.returncode}")
    assert night.returncode == 3, night.stdout + night.stderr
    assert "nightly example: 3 PASS, 1 CANCELLED" in night.stdout
    assert "b is quarantined (by hand: broken)" in night.stdout
    assert len(list(tmp_path.rglob("run.json"))) == 3
    (junit,) = tmp_path.rglob("junit.xml")
    assert 'tests="4" failures="0" errors="1"' in junit.read_text()


def quarantine_at_work(database: Database, name: str) -> None:
    """As soon as the device has its first part; what that brings still counts."""
    running = sa.select(PARTS.c.id).where(PARTS.c.device == name, PARTS.c.state == "running")
    for _ in range(12_000):
        time.sleep(0.05)
        with database.begin() as connection:
            if connection.execute(running).first() is not None:
                broken = {"health": "quarantined", "cause": "by hand: broken"}
                connection.execute(DEVICES.update().where(DEVICES.c.name == name).values(**broken))
                return
