"""The contract of Transport.push, on every transport."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device, Transport
from harness.errors import ArtifactCorrupt, DeviceFull, TransportError, UsageError
from tests.farm.transports.conftest import shell, shell_in

DATA = os.urandom(1_000_003)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "artifact"
    path.write_bytes(DATA)
    return path


def entries(transport: Transport, folder: str) -> list[str]:
    return shell_in(transport, folder, "ls -A").decode().split()


def leave_partial(transport: Transport, folder: str, data: bytes) -> str:
    """As a push that broke off would; returns the path to push to."""
    shell_in(transport, folder, f"cat > model.part-{SHA256}", stdin=data)
    return f"{folder}/model"


def test_arrives_whole_and_only_once(transport: Transport, folder: str, local: Path) -> None:
    remote = f"{folder}/deep/er/model.tflite"
    assert transport.push(local, remote, sha256=SHA256, timeout_s=60) == len(DATA)
    assert shell(transport, 'cat "$1"', remote) == DATA
    assert transport.push(local, remote, sha256=SHA256, timeout_s=60) == 0
    assert entries(transport, f"{folder}/deep/er") == ["model.tflite"]
    assert shell(transport, 'ls -ld "$1" | cut -c 1-10', f"{folder}/deep") == b"drwx------\n"


def test_replaces_other_content(transport: Transport, folder: str, local: Path) -> None:
    remote = f"{folder}/model"
    shell_in(transport, folder, "echo old > model")
    assert transport.push(local, remote, sha256=SHA256, timeout_s=60) == len(DATA)
    assert shell(transport, 'cat "$1"', remote) == DATA


def test_an_empty_file(transport: Transport, folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    sha256 = hashlib.sha256().hexdigest()
    assert transport.push(tmp_path / "empty", f"{folder}/e", sha256=sha256, timeout_s=60) == 0
    assert entries(transport, folder) == ["e"]


def test_an_awkward_name(transport: Transport, folder: str, local: Path) -> None:
    name = "-r f's $(id) ü\n*"
    transport.push(local, f"{folder}/{name}", sha256=SHA256, timeout_s=60)
    assert shell(transport, 'cat "$1/$2"', folder, name) == DATA


@pytest.mark.parametrize("kept", [1, 400_000, len(DATA)])
def test_goes_on_where_it_broke_off(
    transport: Transport, folder: str, local: Path, kept: int
) -> None:
    remote = leave_partial(transport, folder, DATA[:kept])
    assert transport.push(local, remote, sha256=SHA256, timeout_s=60) == len(DATA) - kept
    assert shell(transport, 'cat "$1"', remote) == DATA
    assert entries(transport, folder) == ["model"]


def test_a_partial_file_that_is_too_long_starts_anew(
    transport: Transport, folder: str, local: Path
) -> None:
    remote = leave_partial(transport, folder, DATA + b"x")
    assert transport.push(local, remote, sha256=SHA256, timeout_s=60) == len(DATA)


def test_a_corrupt_file_is_detected_and_removed(
    transport: Transport, folder: str, local: Path
) -> None:
    local.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(ArtifactCorrupt, match=SHA256):
        transport.push(local, f"{folder}/model", sha256=SHA256, timeout_s=60)
    assert entries(transport, folder) == []


def test_a_bad_partial_file_does_no_harm(transport: Transport, folder: str, local: Path) -> None:
    remote = leave_partial(transport, folder, b"rotten")
    sent = transport.push(local, remote, sha256=SHA256, timeout_s=60)
    assert sent == len(DATA) - len(b"rotten") + len(DATA)
    assert shell(transport, 'cat "$1"', remote) == DATA
    assert entries(transport, folder) == ["model"]


def test_a_full_device_is_told_and_cleaned(transport: Transport, folder: str, local: Path) -> None:
    remote = f"{folder}/model"
    shell_in(transport, folder, f"ln -s /dev/full model.part-{SHA256}")
    with pytest.raises(DeviceFull, match="no space left"):
        transport.push(local, remote, sha256=SHA256, timeout_s=60)
    assert entries(transport, folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "small", disk], check=True)
    yield disk
    subprocess.run(["/bin/umount", disk], check=True)


def test_a_real_full_disk(this_host: Device, small_disk: Path, local: Path) -> None:
    with connect(this_host) as transport, pytest.raises(DeviceFull) as caught:
        transport.push(local, f"{small_disk}/model", sha256=SHA256, timeout_s=60)
    assert "No space left" in caught.value.stderr_tail
    assert list(small_disk.iterdir()) == []


def test_a_folder_in_the_way(transport: Transport, folder: str, local: Path) -> None:
    shell_in(transport, folder, "mkdir model")
    with pytest.raises(TransportError, match="failed") as caught:
        transport.push(local, f"{folder}/model", sha256=SHA256, timeout_s=60)
    assert "is a folder" in caught.value.stderr_tail


def test_a_place_that_cannot_be_written(transport: Transport, local: Path) -> None:
    with pytest.raises(TransportError, match="failed"):
        transport.push(local, "/proc/edgefarm/model", sha256=SHA256, timeout_s=60)


def test_refuses_a_callers_mistake(transport: Transport, folder: str, local: Path) -> None:
    with pytest.raises(UsageError, match="absolute"):
        transport.push(local, "model", sha256=SHA256, timeout_s=60)
    with pytest.raises(UsageError, match="no such file"):
        transport.push(local.parent / "none", f"{folder}/m", sha256=SHA256, timeout_s=60)
    with pytest.raises(UsageError, match="not a sha256"):
        transport.push(local, f"{folder}/m", sha256="abc", timeout_s=60)
