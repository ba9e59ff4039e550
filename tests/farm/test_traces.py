"""Traces: a span for every workflow and step, sent to a collector over OTLP."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from farm.database import open_database
from farm.devices import register_devices
from farm.engine import running_engine
from farm.jobs import status, submit
from harness.device import Device
from harness.errors import UsageError
from tests.farm.jobs_in import HOST, request
from tests.farm.services import ROOT

TRACED = f"""
import os, sys, threading
from farm.database import open_database
from farm.transports import connect
from farm.worker import Settings, serve
from harness.device import Device
from tests.farm.test_worker import Echo, no_fault

url, workdir, collector = sys.argv[1:]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
serve(
    open_database(url), {HOST!r}, [Device("a", "local", ("host-litert",), workdir=workdir)],
    connect=connect, work=Echo(), probe=no_fault, stop=stop,
    settings=Settings(poll_s=0.1, traces=(collector,)),
)
os._exit(0)
"""


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Where traces are sent to, and what came."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", came
        server.shutdown()
        serving.join()


@pytest.mark.skipif(
    find_spec("opentelemetry.sdk") is None, reason="not installed: pip install 'edgefarm[traces]'"
)
def test_workflows_and_steps_are_told_the_last_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'farm.sqlite'}"
    database = open_database(url)
    register_devices(database, [Device("a", "local", ("host-litert",))])
    job = submit(database, request())
    with collector() as (address, came):
        words = [sys.executable, "-c", TRACED, url, str(tmp_path / "a"), address]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=ROOT)
        try:
            deadline = time.monotonic() + 60
            while status(database, job).state != "done":
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            child.communicate(timeout=60)
        finally:
            child.kill()
    sent = b"".join(came)
    assert {name for name in (b"prepare", b"make", b"part", b"measure") if name in sent} == {
        b"prepare", b"make", b"part", b"measure",
    }  # fmt: skip
    assert f"{job}.0:1".encode() in sent
    database.close()


def test_without_the_exporter_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.host.extras.find_spec", lambda _: None)
    engine = running_engine(None, preparers=1, traces=("http://x",))  # type: ignore[arg-type]  # not looked at
    with pytest.raises(UsageError, match=r"pip install 'edgefarm\[traces\]'"), engine:
        pass
