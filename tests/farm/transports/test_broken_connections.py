"""What is left, on the device and here, when the connection breaks in the middle."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.transports import command, connect
from harness.device import Device, PullLimits, Transport
from harness.errors import DeviceTimeout, TransportError
from tests.farm.transports.conftest import left_in, shell, shell_in
from tests.farm.transports.proxy import Fault, Proxy, proxy_to
from tests.farm.transports.test_run import assert_dies, marker

BIG = 4 << 20


@pytest.fixture
def proxy(cortex_a76: Device) -> Iterator[Proxy]:
    with proxy_to(cortex_a76) as opened:
        yield opened


@pytest.fixture
def direct(cortex_a76: Device) -> Iterator[Transport]:
    with connect(cortex_a76) as opened:
        yield opened


@pytest.fixture
def folder(direct: Transport) -> Iterator[str]:
    folder = f"{direct.device.workdir}/broken-{marker()}"
    yield folder
    shell(direct, 'rm -rf "$1"', folder)


def push_cut_at(cut_at: int, proxy: Proxy, file: Path, remote: str) -> str:
    """Push, have the connection cut after so many bytes; returns the file's sha256."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    proxy.fault = Fault("cut", after_bytes=cut_at)
    with (
        connect(proxy.device) as transport,
        pytest.raises(TransportError, match=r"push to .*/model: the connection broke"),
    ):
        transport.push(file, remote, sha256=sha256, timeout_s=60)
    proxy.fault = Fault()
    return sha256


def test_a_push_that_was_cut_goes_on(
    proxy: Proxy, direct: Transport, folder: str, tmp_path: Path
) -> None:
    data = os.urandom(BIG)
    (tmp_path / "artifact").write_bytes(data)
    remote = f"{folder}/model"
    # More than the window of a channel, so that the device has written some of it.
    sha256 = push_cut_at(3_500_000, proxy, tmp_path / "artifact", remote)
    assert shell_in(direct, folder, "ls") == f"model.part-{sha256}\n".encode()
    with connect(proxy.device) as transport:
        sent = transport.push(tmp_path / "artifact", remote, sha256=sha256, timeout_s=60)
    assert BIG - 3_500_000 <= sent < BIG
    assert shell_in(direct, folder, "ls; cat model") == b"model\n" + data


def test_a_push_that_was_cut_early_is_done_again(
    proxy: Proxy, direct: Transport, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "artifact").write_bytes(os.urandom(BIG))
    sha256 = push_cut_at(100_000, proxy, tmp_path / "artifact", f"{folder}/model")
    with connect(proxy.device) as transport:
        transport.push(tmp_path / "artifact", f"{folder}/model", sha256=sha256, timeout_s=60)
    assert shell_in(direct, folder, "ls") == b"model\n"


def test_a_command_dies_with_its_connection(proxy: Proxy, direct: Transport) -> None:
    mark = marker()
    with connect(proxy.device) as transport:
        proxy.fault = Fault("cut", after_bytes=20_000, direction="down")
        script = f"sleep {mark} & head -c 100000 /dev/urandom; sleep {mark}"
        with pytest.raises(TransportError, match="the connection broke") as caught:
            transport.run(("sh", "-c", script), timeout_s=60)
        assert caught.value.argv == ("sh", "-c", script)
        assert_dies(direct, mark)
        with pytest.raises(TransportError, match="the connection broke"):
            transport.run(["true"], timeout_s=60)


def test_a_pull_that_was_cut_leaves_nothing(
    proxy: Proxy, direct: Transport, folder: str, tmp_path: Path
) -> None:
    shell_in(direct, folder, f"head -c {BIG} /dev/urandom > data")
    with connect(proxy.device) as transport:
        proxy.fault = Fault("cut", after_bytes=1_000_000, direction="down")
        with pytest.raises(TransportError, match=r"pull of .*: the connection broke"):
            transport.pull(folder, tmp_path / "got", limits=PullLimits(), timeout_s=60)
    assert left_in(tmp_path) == []


@pytest.fixture
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_KILL_GRACE_S", 1.0)


@pytest.mark.usefixtures("_short_grace")
def test_a_command_on_a_stalled_connection_is_given_up(proxy: Proxy, direct: Transport) -> None:
    """Nobody tells the host, nobody tells the device: each has a clock."""
    mark = marker()
    with connect(proxy.device) as transport:
        proxy.fault = Fault("stall", after_bytes=20_000, direction="down")
        script = f"sleep {mark} & head -c 100000 /dev/urandom; sleep {mark}"
        with pytest.raises(DeviceTimeout, match="does not answer"):
            transport.run(("sh", "-c", script), timeout_s=4)
        assert_dies(direct, mark)
        with pytest.raises(TransportError, match="the connection broke"):
            transport.run(["true"], timeout_s=60)


@pytest.mark.usefixtures("_short_grace")
def test_a_push_on_a_stalled_connection_is_given_up(
    proxy: Proxy, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(BIG))
    sha256 = hashlib.sha256(bytes(BIG)).hexdigest()
    with connect(proxy.device) as transport:
        proxy.fault = Fault("stall", after_bytes=500_000)
        with pytest.raises(DeviceTimeout, match="does not answer"):
            transport.push(tmp_path / "big", f"{folder}/model", sha256=sha256, timeout_s=4)


def test_a_device_that_starts_nothing_is_given_up(proxy: Proxy) -> None:
    with connect(proxy.device) as transport:
        proxy.fault = Fault("stall")
        with pytest.raises(DeviceTimeout, match="did not start"):
            transport.run(["true"], timeout_s=1)
