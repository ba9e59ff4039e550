"""The target as a whole: its delegate on a device, its emulation, and how reports speak of it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from farm.transports import connect
from harness.device import NO_DEVICE, Device
from harness.errors import UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache
from harness.protocol import Delegate, Result
from harness.records import Outcome, Run
from harness.request import Request
from reports.html import render
from reports.tables import run_detail, runs_table
from targets import get_target
from targets.runner import PYTHON
from tests.oracle.models import conv
from tests.targets import jobs

EDGE_TPU = get_target("edge-tpu")
BOARD = Device("coral", "ssh", ("edge-tpu",))


def test_a_board_without_the_library_says_which_one_is_missing(tmp_path: Path) -> None:
    delegate = Delegate(library="libedgetpu.so.1")
    folder = jobs.make_job(tmp_path, conv(), delegate=delegate)
    kind, message = jobs.failure((sys.executable, str(PYTHON.files[0])), folder)
    assert kind == "runtime_missing"
    assert "libedgetpu.so.1" in message
    assert EDGE_TPU.runner.delegate == Delegate(library="libedgetpu.so.1")


def test_the_assumed_profile_stands_for_the_accelerator_alone() -> None:
    ran = Result(delegate="libedgetpu.so.1", delegated=1)
    assert EDGE_TPU.profile(BOARD, ran) == "edge-tpu"
    assert EDGE_TPU.profile(BOARD, ran.model_copy(update={"delegate": None})) is None
    assert EDGE_TPU.profile(BOARD, ran.model_copy(update={"delegated": 0})) is None


def request(tmp_path: Path) -> Request:
    made = conv(shape=(1, 6, 6, 3), channels=5)
    (tmp_path / "conv.tflite").write_bytes(made.data)
    x = np.concatenate([made.sample(seed)[0] for seed in range(4)])
    np.savez(tmp_path / "data.npz", in0=x)
    files = str(tmp_path / "conv.tflite"), str(tmp_path / "data.npz")
    return Request(*files, EDGE_TPU, None, NO_DEVICE)


def run(tmp_path: Path) -> Run:
    return evaluate(request(tmp_path), connect, cache=Cache(tmp_path / "cache"))


def test_an_emulation_says_in_every_line_that_it_is_assumed(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.outcome is Outcome.PASS
    assert not done.on_device
    assert done.emulated_by == "edge-tpu (assumed)"
    assert done.exactness is not None
    assert (done.exactness.verdict, done.exactness.outputs) == ("unknown", ())
    assert done.latency is None
    assert done.placement is not None
    assert [one.where for one in done.placement.placement] == ["edge-tpu"]
    console = Console(width=400, record=True)
    console.print(run_detail(done), runs_table([done]))
    shown = console.export_text()
    assert "no device, emulated by edge-tpu (assumed)" in shown
    assert "Emulated by edge-tpu (assumed)" in render([done])
    for line in shown.splitlines():
        if "on the device" in line or "top-1" in line:
            raise AssertionError(line)


def test_what_is_not_compiled_is_not_sent_to_a_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="nothing to run there: not compiled: edgetpu_compiler"):
        evaluate(replace(request(tmp_path), device=BOARD), connect, cache=Cache(tmp_path / "cache"))
