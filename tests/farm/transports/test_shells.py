"""The scripts for devices under the shells and tools that devices have."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device, PullLimits, Transport
from harness.errors import DeviceTimeout
from tests.farm.transports.test_run import assert_dies, marker

# The shell, then the program that is all other commands; Android has mksh and toybox.
KINDS = {"dash": ("dash", None), "bash": ("bash", None), "android": ("mksh", "toybox")}


@pytest.fixture(params=KINDS)
def transport(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Transport]:
    shell, tools = KINDS[request.param]
    path = tmp_path / "bin"
    path.mkdir()
    for name in filter(None, (shell, tools)):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} here: apt-get install {name}")
    if tools is not None:
        for command in ("cat", "head", "mkdir", "mv", "rm", "setsid", "sha256sum", "sleep", "tar"):
            (path / command).symlink_to(str(shutil.which(tools)))
        (path / "wc").symlink_to(str(shutil.which(tools)))
    (path / "sh").symlink_to(str(shutil.which(shell)))
    monkeypatch.setenv("PATH", str(path) if tools else f"{path}:/usr/bin:/bin")
    with connect(Device("shell", "local", workdir=str(tmp_path))) as opened:
        yield opened


def test_runs_commands(transport: Transport) -> None:
    data = bytes(range(256)) * 4000
    assert transport.run(["cat"], timeout_s=30, stdin=data).stdout == data
    assert transport.run(("sh", "-c", "exit 3"), timeout_s=30).exit_status == 3
    assert transport.run(("sh", "-c", "kill -SEGV $$"), timeout_s=30).exit_status == -11
    missing = transport.run(["no-such-program"], timeout_s=30)
    assert (missing.exit_status, missing.stdout) == (127, b"")
    assert b"no-such-program" in missing.stderr


def test_kills_groups(transport: Transport) -> None:
    mark = marker()
    with pytest.raises(DeviceTimeout, match="has been killed"):
        transport.run(("sh", "-c", f"sleep {mark} | sleep {mark}"), timeout_s=1)
    with pytest.raises(DeviceTimeout, match="has been killed"):
        transport.run(["sleep", mark], timeout_s=1, stdin=bytes(4 << 20))
    transport.run(("sh", "-c", f"sleep {mark} &"), timeout_s=30)
    assert_dies(transport, mark)


def test_moves_files(transport: Transport, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "there").mkdir()
    (tmp_path / f"there/model.part-{sha256}").write_bytes(data[:99])
    remote = str(tmp_path / "there/model")
    sent = transport.push(tmp_path / "file", remote, sha256=sha256, timeout_s=30)
    assert sent == len(data) - 99
    assert transport.push(tmp_path / "file", remote, sha256=sha256, timeout_s=30) == 0
    (tmp_path / "there" / ("long" * 50)).touch()
    transport.pull(str(tmp_path / "there"), tmp_path / "got", limits=PullLimits(), timeout_s=30)
    assert (tmp_path / "got/model").read_bytes() == data
    assert (tmp_path / "got" / ("long" * 50)).exists()
