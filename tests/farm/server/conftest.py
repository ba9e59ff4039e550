"""A server on loopback over a SQLite farm, tokens for it, and archives to send."""

import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn

from farm.archive import ArchiveLimits
from farm.database import Database, open_database
from farm.server import OPTIONS, Settings, create_app
from farm.tokens import ROLES, create_token
from harness.host.cache import Cache
from tests.farm.jobs_in import add_devices
from tests.oracle.models import conv

UPLOAD_BYTES = 200_000
UNPACKED_BYTES = 1_000_000


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        tokens: by role, and `other`, a second submitter.
    """

    url: str
    database: Database
    settings: Settings
    tokens: dict[str, str]

    def call(
        self, method: str, path: str, role: str | None = "submit", **options: object
    ) -> requests.Response:
        headers = dict(options.pop("headers", {}))  # type: ignore[call-overload]  # a dict, if given
        if role is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(role, role)}"
        url = self.url + path
        return requests.request(method, url, headers=headers, timeout=30, **options)  # type: ignore[arg-type]  # requests' own options

    def send(self, body: object, role: str | None = "submit", **headers: str) -> requests.Response:
        return self.call(
            "POST", "/jobs", role, data=body, headers={"Content-Type": "application/zip"} | headers
        )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(database, ["a", "b"])
    tokens = {role: create_token(database, role, role) for role in ROLES}
    tokens["other"] = create_token(database, "other", "submit")
    settings = Settings(
        store=tmp_path / "store",
        cache=Cache(tmp_path / "cache"),
        upload_bytes=UPLOAD_BYTES,
        archive=ArchiveLimits(unpacked_bytes=UNPACKED_BYTES),
    )
    with running(database, settings) as url:
        yield Served(url, database, settings, tokens)
    database.close()


@contextmanager
def running(database: Database, settings: Settings, **options: Any) -> Iterator[str]:
    """A server in a thread; its URL."""
    config = uvicorn.Config(
        create_app(database, settings), port=0, log_level="error",
        **OPTIONS | {"timeout_graceful_shutdown": 1} | options,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


JOB = {"model": "conv.tflite", "data": "data.npz", "target": "host-litert"}

MakeArchive = Callable[..., bytes]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a small quantized model and data."""
    made = conv(shape=(1, 6, 6, 3), channels=5)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "conv.tflite").write_bytes(made.data)
    x = np.concatenate([made.sample(seed)[0] for seed in range(3)])
    np.savez(folder / "data.npz", in0=x)
    return folder


@pytest.fixture
def archive(tmp_path: Path, files: Path) -> MakeArchive:
    """Make an archive; members given by name take the place of the right ones, None leaves out."""

    def make(
        job: object = JOB, members: dict[str, bytes | None] | None = None, nonce: str = "1"
    ) -> bytes:
        content: dict[str, bytes | None] = {
            "request.json": json.dumps({"nonce": nonce, "job": job}).encode(),
            "conv.tflite": (files / "conv.tflite").read_bytes(),
            "data.npz": (files / "data.npz").read_bytes(),
        }
        content |= members or {}
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                if data is not None:
                    made_once = zipfile.ZipInfo(name)  # its date is always the same
                    archive.writestr(made_once, data, zipfile.ZIP_DEFLATED)
        return path.read_bytes()

    return make
