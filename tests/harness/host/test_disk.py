"""A full disk of this host is the machine's fault, wherever it is met and whatever it became."""

import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.device import Device
from harness.errors import DeviceError, HostFull, ModelError, TransportError, UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache
from harness.host.disk import host_full
from harness.host.isolate import run_isolated
from harness.recipe import RECIPES
from harness.records import Outcome
from harness.request import Request
from targets.host import HOST_LITERT
from tests.harness.cli.command import command

FUNCTIONS = """
import errno, os
from harness.errors import ModelError, UsageError

def full(progress):
    raise OSError(errno.ENOSPC, "No space left on device", "weights.bin")

def quota(progress):
    raise OSError(errno.EDQUOT, "Disk quota exceeded")

def wrapped(progress):
    try:
        full(progress)
    except OSError as error:
        raise ModelError("the converter wrote no file") from error

def handled(progress):
    try:
        full(progress)
    except OSError:
        raise UsageError("out: cannot be written")

def library(progress):
    raise RuntimeError("[enforce fail at inline_container.cc] No space left on device")

def printed(progress):
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    print("x" * 100_000, flush=True)

def other(progress):
    raise OSError(errno.ENOENT, "No such file")

def refused(progress):
    raise ModelError("node 3: no kernel")
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "full_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    import full_functions  # type: ignore[import-not-found]

    yield full_functions
    del sys.modules["full_functions"]


@pytest.mark.parametrize("name", ["full", "quota", "wrapped", "handled", "library", "printed"])
def test_a_process_of_our_own_that_met_it(functions: ModuleType, name: str) -> None:
    with pytest.raises(HostFull, match=r"this host's disk is full.*edgefarm clean"):
        run_isolated(getattr(functions, name), what="lowering", timeout_s=60)


@pytest.mark.parametrize("name", ["other", "refused"])
def test_other_trouble_stays_what_it_is(functions: ModuleType, name: str) -> None:
    with pytest.raises(ModelError):
        run_isolated(getattr(functions, name), what="lowering", timeout_s=60)


def test_a_disk_without_any_space_explains_everything(
    functions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(HostFull, match="0 bytes free"):
        run_isolated(functions.other, what="lowering", timeout_s=60)


def test_a_device_s_words_do_not_blame_the_host() -> None:
    assert host_full(DeviceError("No space left on device", device="pi")) is None
    assert host_full(ModelError("refused on device pi: No space left on device")) is None
    broken = TransportError("the pull broke off", device="pi")
    broken.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(host_full(broken), HostFull)


@pytest.mark.parametrize("where", ["tempfile.mkdtemp", "harness.host.isolate._new_log"])
def test_an_evaluation_that_met_it_is_an_error_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(where, fails)
    zoo, device = "zoo:digits-cnn", Device("a", "local", ("host-litert",))
    request = Request(zoo, zoo, HOST_LITERT, RECIPES["float"], device)

    def connect(_device: Device) -> Any:
        raise AssertionError("it was not reached")

    run = evaluate(request, connect, cache=Cache(tmp_path / "kept"))
    assert run.outcome is Outcome.ERROR
    assert run.failure is not None
    assert run.failure.kind == "HostFull"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (UsageError("out: cannot be written"), 2),
    ],
)
def test_a_command_that_met_it_ends_with_3(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("farm.jobs.recent_jobs", fails)
    said = command(capsys, monkeypatch)("status")
    assert said.code == code
    assert ("this host's disk is full" in said.err) == (code == 3)


def test_a_defect_whose_details_find_no_space_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise KeyError("defect")

    home = tmp_path / "home"
    home.mkdir()
    (home / "crashes").write_text("in the way")
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    monkeypatch.setattr("farm.jobs.recent_jobs", fails)
    said = command(capsys, monkeypatch)("status")
    assert said.code == 3
    assert "details: not kept" in said.err
