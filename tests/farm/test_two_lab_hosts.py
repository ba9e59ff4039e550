"""Two lab hosts on one Postgres, with two boards and two phones between them, while a worker and
the server are killed: nothing is lost, and every result is the single host's, bit for bit.

Takes minutes: ``EDGEFARM_TEST_FARM=1 EDGEFARM_TEST_MODELS=… pytest -s
tests/farm/test_two_lab_hosts.py`` runs it, and prints what became of the jobs.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa

from farm.database import Database, open_database
from farm.inventory import add_device
from farm.job import JobRequest, job_request
from farm.remote import RemoteQueue
from farm.tables import EVENTS, JOBS, PARTS
from farm.tokens import create_token
from farm.transports import connect
from harness.device import Device
from harness.errors import HarnessError
from harness.evaluate import evaluate
from harness.recipe import load_recipe
from harness.records import Outcome, Run
from tests.farm.databases import create_database
from tests.farm.phones import NewPhone
from tests.farm.services import Child, Environment, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not (os.environ.get("EDGEFARM_TEST_FARM") and os.environ.get("EDGEFARM_TEST_MODELS")),
        reason="takes minutes; set EDGEFARM_TEST_FARM=1 and EDGEFARM_TEST_MODELS",
    ),
]
JOBS_OF_EACH = 20
SAMPLES = 5
SERVING = '"message": "serving"'
LISTENS = r"http://127\.0\.0\.1:\d+"


@dataclass
class Lab:
    """The farm's processes, by name; each may be killed and started again."""

    folder: Path
    url: str
    children: dict[str, Child] = field(default_factory=dict)
    address: str = ""

    def environment(self, name: str) -> Environment:
        own = {"EDGEFARM_HOME": str(self.folder / name), "EDGEFARM_DATABASE": self.url}
        return {**os.environ, **own, "EDGEFARM_CACHE": str(self.folder / name / "cache")}

    def work(self, host: str) -> None:
        words = ("worker", "--host", host)
        self.children[host], _ = start(self.environment(host), *words, until=SERVING)

    def serve(self) -> None:
        words = ("server", "--port", self.address.rpartition(":")[2] or "0")
        environment = self.environment("server")
        self.children["server"], self.address = start(environment, *words, until=LISTENS)

    def kill(self, name: str) -> None:
        self.children[name].kill()
        self.children.pop(name).wait()

    def close(self) -> None:
        for name in list(self.children):
            self.kill(name)


@pytest.fixture
def units(
    cortex_a76: Device, cortex_a53: Device, new_phone: NewPhone
) -> dict[str, tuple[Device, Device]]:
    """A board and a phone for each lab host."""
    return {"one": (cortex_a76, new_phone().device), "two": (cortex_a53, new_phone().device)}


@pytest.fixture
def lab(units: dict[str, tuple[Device, Device]], postgres: str, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, create_database(postgres, f"t{uuid4().hex}"))
    for host, devices in units.items():
        (tmp_path / host).mkdir()
        for device in devices:
            add_device(tmp_path / host / "farm.toml", device)
    with ExitStack() as stack:
        stack.callback(made.close)
        made.work("one")
        made.work("two")
        made.serve()
        yield made


@pytest.fixture
def models(tmp_path: Path) -> tuple[JobRequest, JobRequest]:
    """A model that is exported and quantized, and one that comes quantized."""
    x = np.random.default_rng(0).integers(-128, 128, (SAMPLES, 640), np.int8)
    np.savez(tmp_path / "noise.npz", in0=x)
    ad01 = Path(os.environ["EDGEFARM_TEST_MODELS"]) / "ad01_int8.tflite"
    fields = {"target": "arm-neon-litert", "measure": "quick", "samples": SAMPLES}
    digits = {"model": "zoo:digits-cnn", "data": "zoo:digits-cnn"}
    return (
        job_request(fields | digits | {"recipe": load_recipe("static_wi8_ai8")}),
        job_request(fields | {"model": str(ad01), "data": str(tmp_path / "noise.npz")}),
    )


def test_nothing_is_lost_and_every_bit_is_the_single_hosts(
    lab: Lab,
    units: dict[str, tuple[Device, Device]],
    models: tuple[JobRequest, JobRequest],
) -> None:
    began = time.monotonic()
    alone = {one.model: evaluate(one.on(units["one"][0]), connect) for one in models}
    database = open_database(lab.url)
    queue = RemoteQueue(lab.address, create_token(database, "someone", "submit"))
    jobs: dict[str, str] = {}
    submitter = threading.Thread(target=submit_all, args=(queue, models, jobs))
    submitter.start()
    wait_for(lambda: counted(database, JOBS) >= JOBS_OF_EACH // 2)
    lab.kill("server")
    wait_for(lambda: running_on(database, "one") > 0)
    lab.kill("one")
    lab.serve()
    wait_for(lambda: happened(database, "lost") > 0)  # the other lab host sees its leases expire
    lab.work("one")
    submitter.join()
    runs = {job: queue.results(job) for job in jobs if all_of(queue, job)}
    report(database, jobs, runs, time.monotonic() - began)

    assert len(jobs) == 2 * JOBS_OF_EACH
    assert [len(found) for found in runs.values()] == [1] * len(jobs)
    for job, (run,) in runs.items():
        expected = alone[jobs[job]]
        assert run.outcome is Outcome.PASS, run.reasons
        assert run.outputs_sha256 == expected.outputs_sha256 != ""
    for model in alone:
        made = {
            run.manifest.sha256
            for job, (run,) in runs.items()
            if jobs[job] == model
            if run.manifest
        }
        assert len(made) == 1
    assert {run.device.name for (run,) in runs.values()} == {
        device.name for devices in units.values() for device in devices
    }
    database.close()


def submit_all(
    queue: RemoteQueue, models: tuple[JobRequest, JobRequest], jobs: dict[str, str]
) -> None:
    for number in range(JOBS_OF_EACH):
        for model in models:
            labelled = model.model_copy(update={"label": f"job {number}"})
            jobs[submit_until_taken(queue, labelled)] = model.model


def submit_until_taken(queue: RemoteQueue, request: JobRequest) -> str:
    """As a person does who reads that the server cannot be reached."""
    while True:
        try:
            return queue.submit(request)
        except HarnessError:
            time.sleep(2)


def all_of(queue: RemoteQueue, job: str) -> bool:
    for _ in queue.watch(job):
        pass
    return queue.status(job).state == "done"


def wait_for(happened: Callable[[], bool], seconds: float = 1800.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(1)


def counted(database: Database, table: sa.Table, *which: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(*which)
    with database.begin() as connection:
        return int(connection.execute(query).scalar_one())


def running_on(database: Database, host: str) -> int:
    return counted(database, PARTS, PARTS.c.host == host, PARTS.c.state == "running")


def happened(database: Database, kind: str) -> int:
    return counted(database, EVENTS, EVENTS.c.kind == kind)


def report(
    database: Database, jobs: dict[str, str], runs: dict[str, list[Run]], seconds: float
) -> None:
    where = Counter((run.device.name, jobs[job]) for job, found in runs.items() for run in found)
    outcomes = Counter(str(run.outcome) for found in runs.values() for run in found)
    print(f"\n{len(jobs)} jobs submitted, {dict(outcomes)}, {seconds:.0f} s")
    for (device, model), count in sorted(where.items()):
        print(f"  {device:32} {Path(model).name:24} {count}")
    told = {kind: happened(database, kind) for kind in ("started", "lost", "resumed", "retried")}
    print(f"  events: {told}")
    for model in dict.fromkeys(jobs.values()):
        outputs = {run.outputs_sha256 for job, (run, *_) in runs.items() if jobs[job] == model}
        print(f"  {Path(model).name}: {len(outputs)} distinct outputs")
