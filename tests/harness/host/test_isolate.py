"""The isolated process: results and errors come back, crashes and hangs become errors."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.errors import DeviceFull, ModelError, UsageError
from harness.host.isolate import run_isolated

FUNCTIONS = """
import ctypes, os, subprocess, sys, time
import numpy as np
from harness.errors import DeviceFull, UsageError

def double(x, progress):
    print("noise on stdout")
    os.write(2, b"noise on stderr")
    progress("halfway", 1, 2)
    return x * 2, os.getpid()

def refuse(progress):
    raise UsageError("name a file")

def break_down(progress):
    raise DeviceFull("no space", device="pi", argv=("cp",), exit_status=1)

def fail(progress):
    raise KeyError("no such op")

def leave(progress):
    sys.exit("leaving")

def crash(progress):
    print("about to crash")
    ctypes.string_at(0)

def killed(progress):
    os.kill(os.getpid(), 9)

def hang(marker, progress):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(marker, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    time.sleep(600)

def eat(progress):
    return len(np.ones(1 << 30, np.uint8))

def unpicklable(progress):
    return lambda: None

def ask(progress):
    return input()
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that the child can import, as a user's or a library's module would be."""
    (tmp_path / "isolated_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    import isolated_functions  # type: ignore[import-not-found]

    yield isolated_functions
    del sys.modules["isolated_functions"]


def logs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "logs").iterdir())


def test_result_and_progress_come_back_and_noise_does_not(
    functions: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    x = np.arange(100_000)
    doubled, pid = run_isolated(
        functions.double, x, what="doubling", timeout_s=60, progress=lambda *step: seen.append(step)
    )
    np.testing.assert_array_equal(doubled, 2 * x)
    assert pid != os.getpid()
    assert seen == [("halfway", 1, 2)]
    assert capfd.readouterr() == ("", "")
    assert logs(tmp_path) == []


def test_harness_errors_come_back_as_themselves(functions: ModuleType) -> None:
    with pytest.raises(UsageError, match=r"^name a file$"):
        run_isolated(functions.refuse, what="x", timeout_s=60)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fail", "KeyError: 'no such op'"),
        ("leave", "SystemExit: leaving"),
        ("unpicklable", "pickle"),
        ("ask", "EOFError"),
    ],
)
def test_other_exceptions_name_what_and_keep_the_traceback(
    functions: ModuleType, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        run_isolated(getattr(functions, name), what="model.py:net, export", timeout_s=60)
    assert str(caught.value).startswith("model.py:net, export: ")
    assert message in str(caught.value)
    (log,) = logs(tmp_path)
    assert str(log) in str(caught.value)
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(("name", "signal"), [("crash", "SIGSEGV"), ("killed", "SIGKILL")])
def test_a_crash_names_the_signal_and_shows_the_last_output(
    functions: ModuleType, name: str, signal: str
) -> None:
    with pytest.raises(ModelError, match=f"conversion: the process was ended by {signal}") as error:
        run_isolated(getattr(functions, name), what="conversion", timeout_s=60)
    assert ("about to crash" in str(error.value)) == (name == "crash")


def test_the_time_limit_ends_the_whole_process_group(functions: ModuleType, tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    with pytest.raises(ModelError, match="conversion: not done after 3 s"):
        run_isolated(functions.hang, str(marker), what="conversion", timeout_s=3)
    for pid in marker.read_text().split():
        assert not is_running(int(pid))


def test_stop_is_asked_though_the_child_says_nothing(functions: ModuleType, tmp_path: Path) -> None:
    marker = tmp_path / "pids"

    def stop() -> None:
        if marker.exists():
            raise UsageError("enough")

    with pytest.raises(UsageError, match="enough"):
        run_isolated(functions.hang, str(marker), what="x", timeout_s=600, stop=stop)


def is_running(pid: int) -> bool:
    for _ in range(100):  # a killed orphan stays a zombie until init collects it
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def test_memory_is_limited(functions: ModuleType) -> None:
    with pytest.raises(ModelError, match="conversion: out of memory"):
        run_isolated(functions.eat, what="conversion", timeout_s=60, memory_limit_bytes=512 << 20)


def test_only_the_newest_logs_are_kept(functions: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "logs"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"20200101-{number:06}-x.log").touch()
    with pytest.raises(ModelError):
        run_isolated(functions.fail, what="x", timeout_s=60)
    assert len(logs(tmp_path)) == 20
    assert not (folder / "20200101-000000-x.log").exists()


@pytest.mark.parametrize("name", ["json", "pickle", "numpy", "harness"])
def test_nothing_of_the_current_folder_is_run(
    functions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / f"{name}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    monkeypatch.chdir(planted)
    doubled, _ = run_isolated(functions.double, 2, what="doubling", timeout_s=60)
    assert doubled == 4
    assert not (tmp_path / "was-run").exists()


def test_a_device_error_comes_back_whole(functions: ModuleType) -> None:
    with pytest.raises(DeviceFull, match="no space") as caught:
        run_isolated(functions.break_down, what="run", timeout_s=60)
    assert caught.value.device == "pi"
    assert caught.value.exit_status == 1
