"""A worker on this host's shell, with work that needs no model: the whole way of a job."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from farm.database import Database
from farm.devices import known_devices
from farm.events import read_events
from farm.faults import Fault
from farm.fence import claim
from farm.job import JobRequest
from farm.jobs import cancel, results, status, submit
from farm.transports import connect
from farm.work import Stop
from farm.worker import Settings, serve
from harness.device import Connect, Device
from harness.errors import DeviceError, ModelError, RunnerKilled, UsageError
from harness.evaluate import run_ended_by
from harness.host.progress import Progress
from harness.records import Outcome, Run
from tests.farm.jobs_in import request

DEADLINE_S = 60.0
FAILED = Fault("ProbeFailed", "`true` failed")


@dataclass
class Echo:
    """Runs ``echo`` on the device, unless the job's label orders something else."""

    began: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)

    def prepare(self, request: JobRequest, device: Device) -> None:  # noqa: ARG002  of the contract
        self.prepared.append(request.model)
        if request.model == "zoo:broken":
            raise ModelError("no such op")

    def run(
        self, request: JobRequest, device: Device, connect: Connect, report: Progress, stop: Stop
    ) -> Run:
        self.began.append(f"{request.label} on {device.name}")
        report("echo", 0, 1)
        asked = request.on(device)
        with connect(device) as transport:
            transport.run(("true",), timeout_s=30)
            while request.label == "endless":
                stop()
                time.sleep(0.05)
            if request.label in {f"not on {device.name}", "nowhere"}:
                return run_ended_by(asked, RunnerKilled("SIGSEGV", device=device.name))
            if request.label == "defect":
                raise ZeroDivisionError("ours")
            transport.run(("true",), timeout_s=30)
        done = run_ended_by(asked, DeviceError("", device=device.name))
        return Run(**{**vars(done), "outcome": Outcome.PASS, "failure": None, "reasons": ()})


def no_fault(_device: Device, _connect: Connect) -> Fault | None:
    return None


@dataclass
class Farm:
    database: Database
    work: Echo
    tmp_path: Path

    @contextmanager
    def worker(
        self,
        names: tuple[str, ...] = ("a",),
        probe: Callable[[Device, Connect], Fault | None] = no_fault,
    ) -> Iterator[None]:
        devices = [
            Device(name, "local", ("host-litert",), workdir=str(self.tmp_path / name))
            for name in names
        ]
        stop = threading.Event()
        serving = threading.Thread(
            target=serve,
            args=(self.database, "lab-1", devices),
            kwargs={
                "connect": connect, "work": self.work, "probe": probe, "stop": stop,
                "settings": Settings(ttl_s=3.0, poll_s=0.1),
            },
        )  # fmt: skip
        serving.start()
        try:
            self.wait(lambda: {one.device.name for one in self.known()} == set(names))
            yield
        finally:
            stop.set()
            serving.join(DEADLINE_S)
            assert not serving.is_alive()

    def known(self) -> list:
        with self.database.begin() as connection:
            return known_devices(connection)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def submit(self, label: str = "", **fields: object) -> str:
        return submit(self.database, request(label=label, **fields))

    def end(self, job: str) -> Outcome | None:
        self.wait(lambda: status(self.database, job).state == "done")
        return status(self.database, job).outcome


@pytest.fixture
def farm(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    return Farm(database, Echo(), tmp_path)


def test_jobs_pass_and_an_artifact_is_made_once(farm: Farm) -> None:
    with farm.worker(("a", "b")):
        jobs = [farm.submit(f"job {number}") for number in range(6)]
        assert {farm.end(job) for job in jobs} == {Outcome.PASS}
    assert farm.work.prepared == ["zoo:m"]
    assert len(results(farm.database, jobs[0])) == 1
    assert all(one.holder is None for one in farm.known())


def test_a_restored_database_makes_no_device_unusable(farm: Farm) -> None:
    device = Device("a", "local", workdir=str(farm.tmp_path / "a"))
    with connect(device) as transport:
        claim(transport, 2_000_000_000, f"worker lab-1/{'0' * 12}")

    def probe(device: Device, opened: Connect) -> Fault | None:
        with opened(device) as transport:
            return None if transport.run(("true",), timeout_s=30).exit_status == 0 else FAILED

    with farm.worker(("a",), probe):
        job = farm.submit()
        assert farm.end(job) is Outcome.PASS
        assert status(farm.database, job).parts[0].attempt == 1
        assert farm.known()[0].token > 2_000_000_000
        assert farm.known()[0].health == "healthy"


def test_a_device_that_somebody_alive_has_is_left_to_him_and_told(farm: Farm) -> None:
    device = Device("a", "local", workdir=str(farm.tmp_path / "a"))
    with connect(device) as transport:
        claim(transport, 2_000_000_000, "worker far/0123456789ab")
    with farm.worker():
        job = farm.submit()
        farm.wait(lambda: bool(told(farm, job, "taken")))
        assert "2000000000 worker far/0123456789ab" in told(farm, job, "taken")[0]
        cancel(farm.database, job)


def told(farm: Farm, job: str, kind: str) -> list[str]:
    return [one.message for one in read_events(farm.database, job) if one.kind == kind]


def test_a_failed_machine_is_probed_and_the_job_goes_elsewhere(farm: Farm) -> None:
    probed = []

    def probe(device: Device, _connect: Connect) -> Fault | None:
        probed.append(device.name)
        return None

    with farm.worker(("a", "b"), probe):
        farm.wait(lambda: set(probed) == {"a", "b"})
        probed.clear()
        busy = farm.submit("endless", selector="name=b")
        farm.wait(lambda: bool(farm.work.began))
        job = farm.submit("not on a")
        farm.wait(lambda: "a" in probed)
        assert "SIGSEGV" in status(farm.database, job).parts[0].message
        cancel(farm.database, busy)
        assert farm.end(job) is Outcome.PASS
    assert farm.work.began == ["endless on b", "not on a on a", "not on a on b"]
    assert {one.health for one in farm.known()} == {"healthy"}


def test_a_machine_that_fails_every_time_is_an_error_after_three(farm: Farm) -> None:
    with farm.worker(("a", "b", "c")):
        job = farm.submit("nowhere")
        assert farm.end(job) is Outcome.ERROR
        part = status(farm.database, job).parts[0]
    assert (part.failure, part.attempt) == ("RunnerKilled", 3)
    assert len({line.split()[-1] for line in farm.work.began}) >= 2


def test_a_model_that_cannot_be_prepared_never_takes_a_device(farm: Farm) -> None:
    with farm.worker():
        job = farm.submit(model="zoo:broken")
        assert farm.end(job) is Outcome.FAIL
    assert status(farm.database, job).parts[0].failure == "ModelError"
    assert not farm.work.began


def test_a_running_job_is_cancelled(farm: Farm) -> None:
    with farm.worker():
        job = farm.submit("endless")
        farm.wait(lambda: bool(farm.work.began))
        assert cancel(farm.database, job)
        assert farm.end(job) is Outcome.CANCELLED


def test_a_time_limit_ends_each_attempt(farm: Farm) -> None:
    with farm.worker():
        job = farm.submit("endless", time_limit_s=0.2, attempts=1)
        assert farm.end(job) is Outcome.TIMEOUT


def test_a_defect_of_ours_is_an_error_and_the_worker_lives_on(farm: Farm) -> None:
    with farm.worker():
        job = farm.submit("defect")
        assert farm.end(job) is Outcome.ERROR
        assert farm.end(farm.submit("next")) is Outcome.PASS
        assert status(farm.database, job).parts[0].failure == "WorkerFailed"
    assert {one.health for one in farm.known()} == {"healthy"}


def test_a_stopping_worker_ends_what_it_began_and_begins_no_more(farm: Farm) -> None:
    with farm.worker():
        job = farm.submit("endless", time_limit_s=2.0, attempts=1)
        farm.wait(lambda: bool(farm.work.began))
        late = farm.submit("late")
    assert status(farm.database, job).outcome is Outcome.TIMEOUT
    assert status(farm.database, late).state == "queued"


KILLED = """
import sys, threading
from pathlib import Path
from farm.database import open_database
from tests.farm.test_worker import Echo, connect, no_fault, serve, Settings, Device
device = Device("a", "local", ("host-litert",), workdir=sys.argv[2])
serve(open_database(sys.argv[1]), "lab-1", [device], connect=connect, work=Echo(), probe=no_fault,
      stop=threading.Event(), settings=Settings(ttl_s=3.0, poll_s=0.1))
"""


def test_a_killed_worker_s_jobs_go_on(farm: Farm) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, farm.database.url, str(farm.tmp_path / "a")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    farm.wait(lambda: len(farm.known()) == 1)
    job, after = farm.submit("endless", time_limit_s=4.0, attempts=1), farm.submit("after")
    farm.wait(lambda: status(farm.database, job).state == "running")
    child.send_signal(signal.SIGKILL)
    child.wait()
    with farm.worker():
        assert farm.end(job) is Outcome.TIMEOUT
        assert farm.end(after) is Outcome.PASS
    assert len(results(farm.database, after)) == 1
    assert status(farm.database, job).parts[0].attempt <= 2


def test_a_lab_host_has_one_worker(farm: Farm) -> None:
    with farm.worker(), pytest.raises(UsageError, match="serves it on this machine already"):
        serve(
            farm.database, "lab-1", [],
            connect=connect, work=farm.work, probe=no_fault, stop=threading.Event(),
        )  # fmt: skip
