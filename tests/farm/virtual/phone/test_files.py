"""A virtual phone's files through the real adb: what comes and goes, and what stays shut."""

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.transports import adb, connect
from harness.device import Transport
from tests.farm.phones import VirtualPhone
from tests.farm.transports.conftest import shell

HERE = "/data/local/tmp"
DATA = os.urandom(300_001)
Adb = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def transport(started_phone: VirtualPhone) -> Iterator[Transport]:
    with connect(started_phone.device) as opened:
        yield opened
        shell(opened, f"rm -rf {HERE}/*")


@pytest.fixture
def client(transport: Transport) -> Adb:
    """The real adb, on the phone."""
    serial = adb.serial_of(transport.device)

    def call(*arguments: object) -> "subprocess.CompletedProcess[str]":
        argv = ["adb", "-P", str(adb.server_port()), "-s", serial, *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    return call


def test_files_and_folders_there_and_back(
    client: Adb, transport: Transport, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/data").write_bytes(DATA)
    (folder / "ünï cødé").touch()
    (folder / "program").write_text("#!/system/bin/sh\necho ran\n")
    (folder / "program").chmod(0o755)
    assert client("push", folder, f"{HERE}/there").returncode == 0
    assert shell(transport, f"{HERE}/there/program") == b"ran\n"
    assert client("pull", f"{HERE}/there", tmp_path / "back").returncode == 0
    assert (tmp_path / "back/deep/er/data").read_bytes() == DATA
    assert (tmp_path / "back/ünï cødé").exists()
    assert "there" in client("ls", HERE).stdout


def test_push_and_sync_keep_the_time(client: Adb, transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(DATA)
    os.utime(tmp_path / "old", (10**9, 10**9))
    assert "1 file pushed" in client("push", "--sync", tmp_path / "old", HERE).stdout
    assert shell(transport, f"stat -c %Y {HERE}/old") == b"1000000000\n"
    assert "1 skipped" in client("push", "--sync", tmp_path / "old", HERE).stdout


def test_shells_of_every_kind(client: Adb) -> None:
    ended = client("shell", "echo out; echo err >&2; exit 7")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "out\n", "err\n")
    assert client("exec-out", "echo out").stdout == "out\n"
    assert client("shell", "-x", "echo old").stdout == "old\n"
    assert "closed" in client("jdwp").stderr + client("remount").stdout + client("root").stderr


def test_nothing_of_the_host_is_read(client: Adb, transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    tmp_path.chmod(0o755)
    outside = ("", "../../../../../../..", "/proc/1/root", "/proc/self/root/..")
    links = [f"ln -s {way}{tmp_path}/secret link{n}" for n, way in enumerate(outside)]
    made = [*links, "ln -s /dev/zero zero", "mkfifo fifo", "mkdir folder"]
    shell(transport, f"cd {HERE}; {'; '.join(made)}; true")
    for name in ("link0", "link1", "link2", "link3", "zero", "fifo"):
        client("pull", f"{HERE}/{name}", tmp_path / "got")
        assert not (tmp_path / "got").exists()
        assert "secret" not in client("exec-out", f"head -c 6 {HERE}/link*").stdout


PLACES = (
    *("{here}/out{host}/planted", "{here}/../../../../../..{host}/planted"),
    *("/proc/1/root{host}/planted", "/proc/1/cwd/planted", "/proc/self/root/..{host}/planted"),
    *("/system/planted", "/vendor/planted", "/sys/planted", "/dev/planted", "/planted"),
)


def test_nothing_of_the_host_is_written(client: Adb, transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(DATA)
    tmp_path.chmod(0o777)
    shell(transport, f"ln -s / {HERE}/out")
    for place in PLACES:
        client("push", tmp_path / "mine", place.format(host=tmp_path, here=HERE))
        assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    assert b"planted" not in shell(transport, "ls / /system /vendor /sys /dev")


def test_a_full_disk_leaves_nothing_half(
    client: Adb, transport: Transport, started_phone: VirtualPhone, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_bytes(DATA)
    started_phone.have("full-disk")
    ended = client("push", tmp_path / "mine", HERE)
    assert ended.returncode != 0
    assert "No space left" in ended.stdout + ended.stderr
    assert shell(transport, f"ls {HERE}") == b""
    started_phone.have("none")
    assert client("push", tmp_path / "mine", HERE).returncode == 0


def sync(transport: Transport, *requests: bytes) -> bytes:
    """The first answer to requests that the real client would not make."""
    with socket.create_connection(("127.0.0.1", adb.server_port()), 20) as connection:
        for service in (f"host:transport:{adb.serial_of(transport.device)}", "sync:"):
            connection.sendall(f"{len(service):04x}{service}".encode())
            assert connection.recv(4) == b"OKAY"
        connection.sendall(b"".join(requests))
        return connection.recv(64)


def request(kind: bytes, name: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(name)) + name


END = struct.pack("<4sI", b"DONE", 0)


REFUSED = (
    ((request(b"SEND", b"/data/local/tmp/n,8630"), END), b"only regular files"),  # S_IFCHR
    ((request(b"SEND", b"/data/local/tmp/n,24576"), END), b"only regular files"),  # S_IFBLK
    ((request(b"SEND", b"/data/local/tmp/n,4096"), END), b"only regular files"),  # S_IFIFO
    ((request(b"SEND", b"/data/local/tmp/n"), END), b"FAIL"),
    ((request(b"SEND", b"a\0b,33188"), END), b"FAIL"),
    ((request(b"SEND", b"x" * 1025),), b"FAIL"),
    ((request(b"RECV", b"/dev/zero"),), b"not a regular file"),
    ((request(b"RECV", b"nowhere"),), b"No such file"),
    ((request(b"LIST", b"/nowhere"),), b"DONE"),
    ((request(b"HACK", b"x"),), b"FAIL"),
)


def test_requests_that_are_refused(transport: Transport) -> None:
    for requests, answer in REFUSED:
        assert answer in sync(transport, *requests), requests
    assert shell(transport, f"ls {HERE}") == b""


def test_a_push_that_breaks_off_leaves_nothing(
    client: Adb, transport: Transport, started_phone: VirtualPhone, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(4 << 20))
    started_phone.have("drop", after_bytes=1 << 20)
    assert client("push", tmp_path / "big", HERE).returncode != 0
    with connect(transport.device) as again:
        assert shell(again, f"ls {HERE}") == b""
