"""The farm's real server beside the simulation, and submitters who speak to it while it is killed.

A submitter sends its archive until it gets an answer, as `edgefarm submit` does: the same archive
is the same job, whatever the server was doing when it was killed.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

from bench.simulation.work import TARGET
from farm.database import Database
from farm.tokens import create_token

_MODELS = 5
_ANSWER_S = 10.0
_PATIENCE_S = 180.0
ROOT = Path(__file__).resolve().parents[2]


class KilledServer:
    """`edgefarm server` on a port of its own, killed in the middle of submits.

    Attributes:
        jobs: ids that it has answered, one for each archive.
        kills: how often it was killed.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._folder = folder
        self._token = create_token(database, "bench", "submit")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._argv = [
            sys.executable, "-m", "harness.cli", "server", "--port", str(self._port),
            "--database", database.url, "--store", str(folder / "store"),
        ]  # fmt: skip
        self._process = self._started()
        self.jobs: list[str] = []
        self.kills = 0

    def _started(self) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"EDGEFARM_HOME": str(self._folder)}
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(self._argv, cwd=ROOT, env=environment, stderr=log, stdout=log)

    def submit_and_kill(self, labels: list[str], after_s: float) -> None:
        """Send jobs at the same time, SIGKILL the server and start it again; wait for answers."""
        self._wait_until_up()
        with ThreadPoolExecutor(len(labels)) as pool:
            answers = [pool.submit(self._submit, label) for label in labels]
            time.sleep(after_s)
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self.kills += 1
            self._process = self._started()
            self.jobs += [answer.result() for answer in answers]

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server does not come up")

    def _submit(self, label: str) -> str:
        archive, deadline = _archive(label), time.monotonic() + _PATIENCE_S
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/zip"}
        url = f"http://127.0.0.1:{self._port}/jobs"
        while time.monotonic() < deadline:
            try:
                answer = requests.post(url, data=archive, headers=headers, timeout=_ANSWER_S)
            except requests.RequestException:
                time.sleep(0.2)
                continue
            if answer.ok:
                return str(answer.json()["job"])
            raise AssertionError(f"{label}: {answer.status_code} {answer.text}")
        raise AssertionError(f"{label}: no answer")


def _archive(label: str) -> bytes:
    """A job as `farm.archive.pack` would write it; the simulation does not open the model."""
    model = f"\0\0\0\0TFL3 model {zlib.crc32(label.encode()) % _MODELS}".encode()
    data = io.BytesIO()
    np.savez(data, in0=np.zeros((1, 1), np.float32))
    job = {"model": "m.tflite", "data": "d.npz", "target": TARGET, "label": label}
    document = {"nonce": label, "job": job | {"selector": "", "time_limit_s": 30.0}}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("request.json", json.dumps(document))
        archive.writestr("m.tflite", model)
        archive.writestr("d.npz", data.getvalue())
    return packed.getvalue()
