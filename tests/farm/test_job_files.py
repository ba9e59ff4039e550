"""Files of jobs reach every lab host of a Postgres farm, whole or not at all."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from farm.database import Database, open_database
from farm.job import JobRequest
from farm.job_files import Fetching, fetch, keep, share
from farm.jobs import submit
from farm.queue import LocalQueue
from farm.tables import FILES
from harness.artifact import Artifact, Manifest, save_manifest, sha256_file
from harness.device import Connect, Device
from harness.errors import ModelError
from harness.host.cache import Cache
from harness.host.progress import Progress
from harness.records import Run
from tests.farm.databases import create_database
from tests.farm.jobs_in import a_run, add_devices, request

DEVICE = Device("a", "local", ("host-litert",))
BIG = bytes(range(256)) * (40 << 10)  # three pieces


@dataclass
class Told:
    """Work that keeps what it was asked."""

    asked: list[JobRequest] = field(default_factory=list)
    run_is: Run = field(default_factory=a_run)

    def prepare(self, request: JobRequest, device: Device) -> None:  # noqa: ARG002  of the contract
        self.asked.append(request)

    def run(
        self,
        request: JobRequest,
        device: Device,  # noqa: ARG002  of the contract
        connect: Connect,  # noqa: ARG002  of the contract
        report: Progress,  # noqa: ARG002  of the contract
        stop: object,  # noqa: ARG002  of the contract
    ) -> Run:
        self.asked.append(request)
        return self.run_is


@pytest.fixture
def shared(postgres: str, tmp_path: Path) -> Database:
    return open_database(create_database(postgres, f"t{tmp_path.name}-{id(tmp_path)}"))


@pytest.fixture
def asked(tmp_path: Path) -> JobRequest:
    (tmp_path / "my net.tflite").write_bytes(BIG)
    (tmp_path / "data.npz").write_bytes(b"")
    model, data = str(tmp_path / "my net.tflite"), str(tmp_path / "data.npz")
    return request(model=model, data=data)


def away(asked: JobRequest) -> None:
    """The machine that submitted it is out of sight."""
    Path(asked.model).unlink()
    Path(asked.data).unlink()


def test_what_one_machine_submits_another_has(
    shared: Database, asked: JobRequest, tmp_path: Path
) -> None:
    add_devices(shared, ["a"])
    queue = LocalQueue(shared)
    job = queue.submit(asked)
    assert queue.submit(asked) == job  # the same content
    away(asked)
    stored = queue.status(job).request
    assert stored.model.endswith("/my_net.tflite")
    work = Told()
    Fetching(work, shared, tmp_path / "host-b", Cache(tmp_path)).prepare(stored, DEVICE)
    assert Path(work.asked[0].model).read_bytes() == BIG
    assert Path(work.asked[0].data).read_bytes() == b""
    assert Path(work.asked[0].model).is_relative_to(tmp_path / "host-b")
    with shared.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(FILES)).scalar_one() == 4


def test_what_is_not_whole_is_not_used(shared: Database, asked: JobRequest, tmp_path: Path) -> None:
    stored = share(shared, asked)
    with shared.begin() as connection:
        connection.execute(FILES.delete().where(FILES.c.number == 1))
    fetching = Fetching(Told(), shared, tmp_path / "host-b", Cache(tmp_path))
    with pytest.raises(ModelError, match="submit the job again"):
        fetching.prepare(stored, DEVICE)
    assert not list((tmp_path / "host-b").rglob("*"))


def test_nobody_names_a_file_outside_the_store(
    shared: Database, asked: JobRequest, tmp_path: Path
) -> None:
    work, digest = Told(), sha256_file(Path(asked.model))
    keep(shared, Path(asked.model))
    fetching = Fetching(work, shared, tmp_path / "host-b", Cache(tmp_path))
    fetching.prepare(request(model=f"stored:{digest}/../../x"), DEVICE)
    assert work.asked[0].model == f"stored:{digest}/../../x"  # no file's name
    assert not (tmp_path / "host-b").exists()


def test_the_artifact_that_ran_is_shared(shared: Database, tmp_path: Path) -> None:
    cache, sha256 = Cache(tmp_path / "cache"), ""
    with cache.fill("artifacts", "0" * 32) as folder:
        (folder / "model.tflite").write_bytes(BIG)
        sha256 = sha256_file(folder / "model.tflite")
        manifest = Manifest(sha256, len(BIG), "litert", "host-litert", "", "m", (), ())
        save_manifest(Artifact(folder / "model.tflite", manifest))
    work = Told(run_is=replace(a_run(), manifest=manifest))
    fetching = Fetching(work, shared, tmp_path / "store", cache)
    fetching.run(request(), DEVICE, lambda _: None, lambda *_: None, lambda: None)  # type: ignore[arg-type, return-value]  # Told opens nothing
    copy = fetch(shared, tmp_path / "server", sha256, "model.tflite")
    assert copy is not None
    assert copy.read_bytes() == BIG


def test_one_machine_needs_no_copies(asked: JobRequest, tmp_path: Path) -> None:
    alone = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(alone, ["a"])
    assert share(alone, asked) == asked
    assert submit(alone, asked)
    alone.close()
