"""A board's life: what each step leaves, and what mends a step that was cut short."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.virtual import boards, requirements
from farm.virtual.boards import (
    create_board,
    destroy_board,
    device_of,
    find_board,
    list_boards,
    start_board,
    stop_board,
)
from farm.virtual.folders import is_free, read_record, write_record
from farm.virtual.rootfs import ensure_rootfs
from harness.errors import DeviceError, UsageError
from harness.host.progress import no_progress
from tests.farm.virtual.conftest import Shell

NAME = f"life-{os.getpid()}"


@pytest.fixture
def home(board_home: Path, tmp_path: Path) -> Iterator[Path]:
    """A home of its own that borrows the root file system, at a path that is hard to quote."""
    ensure_rootfs("ai-edge-litert", board_home, no_progress)
    real = tmp_path / "a b,c:d"
    real.mkdir()
    (real / "rootfs").symlink_to(board_home / "rootfs")
    home = tmp_path / "link"
    home.symlink_to(real)
    yield home
    for board in list_boards(home):
        destroy_board(board.name, home=home)
    assert not traces(NAME)


def traces(name: str) -> list[str]:
    """Every process on this machine that has the board's root file system mounted."""
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f" - overlay {name} " in mounts.read_text():
                found.append(mounts.parent.name)
        except OSError:
            continue
    return found


def test_a_boards_life(home: Path, shell: Shell) -> None:
    created = create_board(NAME, core="cortex-a53", home=home)
    assert not created.running
    assert list_boards(home) == [created]

    started = start_board(NAME, home=home)
    assert started.running
    assert start_board(NAME, home=home) == started
    assert list_boards(home) == [started]
    assert traces(NAME)
    shell(device_of(started), "mkdir -p /var/tmp/edgefarm; echo kept > /var/tmp/edgefarm/file")

    stopped = stop_board(NAME, home=home)
    assert not stopped.running
    assert not traces(NAME)
    assert stop_board(NAME, home=home) == stopped
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started.port), timeout=5)

    again = device_of(start_board(NAME, home=home))
    assert again == device_of(started)
    assert shell(again, "cat /var/tmp/edgefarm/file") == "kept\n"

    destroy_board(NAME, home=home)
    assert list_boards(home) == []
    assert [entry.name for entry in (home / "boards").iterdir()] == [".lock"]
    with pytest.raises(UsageError, match="no virtual board"):
        find_board(NAME, home=home)


def test_device_is_complete(home: Path) -> None:
    board = create_board(NAME, core="cortex-a53", home=home)
    device = device_of(board)
    assert (device.transport, device.virtual, device.core) == ("ssh", True, "cortex-a53")
    assert device.host_key is not None
    assert device.host_key.startswith("SHA256:")
    assert device.address.key_file is not None
    assert Path(device.address.key_file).stat().st_mode & 0o777 == 0o600
    assert device.targets == ("arm-neon-litert", "arm-neon-executorch")


def test_outlives_the_process_that_started_it(home: Path) -> None:
    create_board(NAME, home=home)
    program = (
        "import sys, pathlib; from farm.virtual.boards import start_board\n"
        "start_board(sys.argv[1], home=pathlib.Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", program, NAME, str(home)], check=True)
    board = find_board(NAME, home=home)
    assert board.running
    assert stop_board(NAME, home=home).pid is None
    await_reaped(board.pid)


def await_reaped(pid: int | None) -> None:
    """The machine's init collects it, not we: that may take it a moment."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a zombie is left"
        time.sleep(0.01)


def test_two_starters_start_it_once(home: Path) -> None:
    create_board(NAME, home=home)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: start_board(NAME, home=home), range(2))
    assert one == other


def test_a_port_that_somebody_took_is_replaced(home: Path, shell: Shell) -> None:
    board = create_board(NAME, home=home)
    with socket.create_server(("127.0.0.1", board.port)):
        started = start_board(NAME, home=home)
        assert started.port != board.port
        assert shell(device_of(started), "hostname") == f"{NAME}\n"


def test_a_port_taken_just_before_it_is_used_is_replaced(
    home: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = create_board(NAME, home=home)
    looks = iter([True])
    monkeypatch.setattr(boards, "is_free", lambda port: next(looks, False) or is_free(port))
    with socket.create_server(("127.0.0.1", board.port)):
        started = start_board(NAME, home=home)
        assert started.port != board.port
        assert shell(device_of(started), "hostname") == f"{NAME}\n"


def test_what_does_not_come_up_is_told_and_leaves_nothing(home: Path) -> None:
    board = create_board(NAME, home=home)
    record = read_record(board.folder)
    write_record(board.folder, record.model_copy(update={"rootfs": "nowhere"}))
    with pytest.raises(DeviceError, match="ended while it started") as caught:
        start_board(NAME, home=home)
    assert "mount" in caught.value.stderr_tail
    assert not find_board(NAME, home=home).running


def test_a_full_disk_is_the_hosts_fault(home: Path) -> None:
    tiny = home / "boards"
    tiny.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tiny", str(tiny)]
    subprocess.run(mount, check=True)
    try:
        with pytest.raises(DeviceError, match="No space left"):
            create_board(NAME, home=home)
        with pytest.raises(UsageError, match="no virtual board"):
            find_board(NAME, home=home)
    finally:
        unmount = ["umount", str(tiny)]
        subprocess.run(unmount, check=True)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_board_whose_first_process_died_or_hangs(blow: signal.Signals, home: Path) -> None:
    create_board(NAME, home=home)
    board = start_board(NAME, home=home)
    children = Path(f"/proc/{board.pid}/task/{board.pid}/children").read_text().split()
    os.kill(int(children[0]), blow)
    stop_board(NAME, home=home)
    assert not traces(NAME)
    assert start_board(NAME, home=home).running


def test_a_strict_umask_does_not_reach_the_board(home: Path, shell: Shell) -> None:
    before = os.umask(0o077)
    try:
        create_board(NAME, home=home)
        device = device_of(start_board(NAME, home=home))
    finally:
        os.umask(before)
    assert shell(device, "cat /proc/cpuinfo >/dev/null; ls / >/dev/null; id -un") == "edge\n"


def test_leftovers_of_a_killed_creator_are_removed(home: Path) -> None:
    for leftover in (".new-abc", ".old-xyz"):
        (home / "boards" / leftover / "upper").mkdir(parents=True)
    create_board(NAME, home=home)
    assert {entry.name for entry in (home / "boards").iterdir()} == {".lock", NAME}


@pytest.mark.slow
def test_a_killed_builder_takes_its_tools_along_and_the_next_one_completes(
    board_home: Path, tmp_path: Path
) -> None:
    assert board_home
    program = (
        "import sys, pathlib; from farm.virtual.rootfs import ensure_rootfs\n"
        "def tell(stage, done, total): print(stage, flush=True)\n"
        "ensure_rootfs('none', pathlib.Path(sys.argv[1]), tell)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert b"unpacking Debian" in builder.stdout.readline()
        (unfinished,) = (tmp_path / "rootfs").glob(".none-*")
        while not any(unfinished.iterdir()):  # mmdebstrap is at work
            assert builder.poll() is None
        builder.kill()
    finished = ensure_rootfs("none", tmp_path, no_progress)
    assert {entry.name for entry in (tmp_path / "rootfs").iterdir()} == {".lock-none", finished}
    for argv_file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path) not in argv_file.read_text()
        except OSError:
            continue


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper", "-a", "a" * 41, ".new-1"])
def test_names_that_are_no_host_names(name: str, home: Path) -> None:
    with pytest.raises(UsageError, match="board name"):
        create_board(name, home=home)
    with pytest.raises(UsageError, match="no virtual board"):
        start_board(name, home=home)


def test_a_taken_name_an_unknown_core_and_runtime(home: Path) -> None:
    create_board(NAME, home=home)
    with pytest.raises(UsageError, match="exists"):
        create_board(NAME, home=home)
    with pytest.raises(UsageError, match="cortex-a53, cortex-a76"):
        create_board("other", core="cortex-m4", home=home)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tflite-runtime"):
        create_board("other", runtime="torch", home=home)  # type: ignore[arg-type]


def test_a_broken_record_is_named(home: Path) -> None:
    board = create_board(NAME, home=home)
    (board.folder / "board.json").write_text('{"core": 1')
    with pytest.raises(UsageError, match=r"board\.json"):
        find_board(NAME, home=home)
    with pytest.raises(UsageError, match=f"destroy the board {NAME}"):
        list_boards(home)
    destroy_board(NAME, home=home)
    assert list_boards(home) == []


def test_missing_tools_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError) as caught:
        create_board(NAME, home=tmp_path)
    line = str(caught.value)
    assert "sudo apt-get install " in line
    for package in ("mmdebstrap", "qemu-user-static", "uidmap", "util-linux"):
        assert package in line
