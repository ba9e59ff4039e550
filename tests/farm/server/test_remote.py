"""The commands with a server say what they say with a database, and outlive a server's death."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.archive import ArchiveLimits, pack, unpack
from farm.database import open_database
from farm.job import job_request
from farm.jobs import submit
from farm.remote import RemoteQueue
from farm.tokens import create_token
from harness.errors import HarnessError, NoDevice, UsageError
from harness.host.cache import default_cache
from harness.quantize.lower import lower
from harness.recipe import RECIPES
from harness.sources.data import load_data
from harness.sources.models import open_model
from harness.sources.split import split
from targets import get_target
from tests.farm.jobs_in import add_devices, request
from tests.farm.server.conftest import Served
from tests.farm.server.test_server import finish
from tests.harness.cli.command import Edgefarm, command


@pytest.fixture
def edgefarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Edgefarm:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return command(capsys, monkeypatch)


PLAN = """
[nightly]
name = "t"

[[models]]
model = "zoo:digits-cnn"
recipes = ["float"]

[[devices]]
target = "host-litert"
"""


def test_top_and_doctor_speak_of_the_server_s_farm(
    served: Served, edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_SERVER", served.url)
    monkeypatch.setenv("EDGEFARM_TOKEN", served.tokens["operate"])
    assert [one["device"]["name"] for one in edgefarm("top", "--json").json["devices"]] == [
        *("a", "b"),
    ]
    assert "healthy" in edgefarm("top", "--once").out
    doctor = edgefarm("doctor", "--json")
    assert doctor.code == 3
    assert {"device a", "device b"} <= {one["name"] for one in doctor.json}
    monkeypatch.setenv("EDGEFARM_TOKEN", served.tokens["read"])
    refused = edgefarm("doctor")
    assert (refused.code, "this needs operate" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("device", "state"),
        ("device", "history"),
        ("device", "maintenance", "a"),
        ("metrics",),
        ("clean",),
        ("token", "list"),
        ("nightly", "run", "NIGHTLY"),
    ],
)
def test_what_a_server_does_not_offer_is_refused_not_answered_by_another_farm(
    edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("EDGEFARM_SERVER", "http://127.0.0.1:9")
    plan = tmp_path / "nightly.toml"
    plan.write_text(PLAN)
    done = edgefarm(*(str(plan) if word == "NIGHTLY" else word for word in words))
    assert done.code == 2
    assert "EDGEFARM_SERVER is set" in done.err
    assert not (tmp_path / "home" / "farm.sqlite").exists()


def test_the_commands_say_the_same_with_a_server_and_with_a_database(
    served: Served, files: Path, edgefarm: Edgefarm, tmp_path: Path
) -> None:
    local = ("--database", served.database.url)
    remote = ("--server", served.url, "--token", served.tokens["submit"])
    model, data = files / "conv.tflite", files / "data.npz"
    submitted = edgefarm(
        "submit", model, "--target", "host-litert", "--data", data, "--json", *remote
    )
    assert submitted.code == 0, submitted.err
    job = submitted.json["job"]
    assert edgefarm("results", job, *remote).code == 2  # not done yet
    threading.Timer(1, finish, (served, job)).start()
    watched = edgefarm("watch", job, *remote)
    assert watched.code == 0
    for words in (
        ("status",), ("status", "--json"), ("status", job), ("status", job, "--json"),
        ("watch", job), ("logs", job), ("logs", job, "--json"), ("cancel", job),
        ("results", job), ("results", job, "--json"), ("status", "nothing"),
    ):  # fmt: skip
        assert edgefarm(*words, *remote) == edgefarm(*words, *local), words
    assert edgefarm("results", job, "--out", tmp_path / "out", *remote).code == 0
    assert (tmp_path / "out" / "report.html").exists()
    ends = edgefarm(
        "submit", model, "--target", "host-litert", "--data", data, "--on", "tag=moon", *remote
    )
    assert ends.code == 2
    assert "NoDevice" in ends.err


def test_a_forged_token_is_a_usage_error(served: Served, edgefarm: Edgefarm) -> None:
    said = edgefarm("status", "--server", served.url, "--token", "edgefarm_x")
    assert said.code == 2
    assert "ask the farm's operator" in said.err


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("http://farm.example", "t", "travel in clear"),
        ("farm.example", "t", "https://HOST"),
        ("https://farm.example", "", "EDGEFARM_TOKEN"),
        ("https://farm.example", "a\nb", "EDGEFARM_TOKEN"),
    ],
)
def test_a_token_is_sent_to_nobody_else(url: str, token: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RemoteQueue(url, token)


def test_what_the_server_does_not_take_is_not_sent(served: Served, files: Path) -> None:
    queue = RemoteQueue(served.url, served.tokens["submit"])
    np.savez(
        files / "large.npz",
        in0=np.random.default_rng(0).integers(-99, 99, (9000, 6, 6, 3), np.int8),
    )
    fields: dict[str, Any] = {"model": str(files / "conv.tflite"), "target": "host-litert"}
    with pytest.raises(UsageError, match="archive has"):
        queue.submit(job_request(fields | {"data": str(files / "large.npz")}))
    with pytest.raises(UsageError, match=r"takes \.tflite models only"):
        queue.submit(request(target="host-executorch"))
    with pytest.raises(NoDevice):
        queue.submit(
            job_request(fields | {"data": str(files / "data.npz"), "selector": "tag=moon"})
        )


def test_an_unreachable_server_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(HarnessError, match="cannot be reached"):
        RemoteQueue("http://127.0.0.1:9", "t").recent(1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "--certificate"),  # noqa: S104  refused, that is the test
        (("--certificate", __file__), "go together"),
    ],
)
def test_the_server_does_not_listen_in_clear(
    edgefarm: Edgefarm, arguments: tuple[str, ...], said: str
) -> None:
    ended = edgefarm("server", *arguments)
    assert ended.code == 2
    assert said in ended.err


def start(url: str, home: Path, port: int) -> tuple["subprocess.Popen[str]", str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "server", "--port", str(port), "--database", url],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "EDGEFARM_HOME": str(home)},
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return child, found[1]
    raise AssertionError(f"the server ended with {child.wait()}")


def test_a_watcher_outlives_a_killed_server(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(database, ["a"])
    token = create_token(database, "me", "submit")
    job = submit(database, request())
    child, port = start(database.url, tmp_path, 0)
    queue = RemoteQueue(f"http://127.0.0.1:{port}", token)
    seen: list[str] = []
    watcher = threading.Thread(target=lambda: seen.extend(e.kind for e in queue.watch(job)))
    watcher.start()
    time.sleep(1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child, _ = start(database.url, tmp_path, int(port))
    served = Served("", database, None, {})  # type: ignore[arg-type]  # only its database is used
    finish(served, job)
    watcher.join(60)
    assert seen == ["submitted", "started", "progress", "ended"]
    child.terminate()
    child.wait(20)
    database.close()


@pytest.mark.slow
def test_an_exported_model_is_the_one_that_is_quantized_here(tmp_path: Path) -> None:
    """Exported and quantized elsewhere, bit for bit what it becomes on this machine."""

    def artifact(model: str, data: str) -> str:
        opened = open_model(model)
        parts = split(load_data(data, opened))
        target, recipe = get_target("host-litert"), RECIPES["static_wi8_ai8"]
        made = lower(target, opened, recipe, parts.calibration, cache=default_cache())
        return made.manifest.sha256

    asked = request(model="zoo:digits-cnn", data="zoo:digits-cnn")
    pack(asked, tmp_path / "job.zip", cache=default_cache())
    job = unpack(tmp_path / "job.zip", tmp_path / "store", ArchiveLimits(), "me")
    assert job.model.endswith("digits-cnn.tflite")
    assert artifact(job.model, job.data) == artifact("zoo:digits-cnn", "zoo:digits-cnn")
