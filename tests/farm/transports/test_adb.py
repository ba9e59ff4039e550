"""What only phones have: states, drops, and an adb server of our own. The adb is the real one."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farm.transports import adb, connect
from farm.transports.phone_state import Policy, not_ready, state_of
from farm.virtual.phone.faults import FaultKind
from harness.device import Address, Device, PullLimits, Transport
from harness.errors import (
    ArtifactCorrupt,
    DeviceTimeout,
    PhoneDisconnected,
    PhoneNotBooted,
    PhoneNotPermitted,
    PhoneNotReady,
    PhoneOffline,
    PhoneUnauthorized,
    TransportError,
    UsageError,
)
from tests.farm.phones import NewPhone, VirtualPhone, wait_until
from tests.farm.transports.conftest import left_in, shell, shell_in
from tests.farm.transports.test_run import assert_dies, marker

BIG = 8 << 20


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "READY_TIMEOUT_S", 1.0)


def refused(device: Device) -> PhoneNotReady:
    with pytest.raises(PhoneNotReady) as caught, connect(device):
        pytest.fail("connected")
    assert caught.value.device == device.name
    return caught.value


def state_name(device: Device) -> str | None:
    state = adb.find_state(adb.server_port(), adb.serial_of(device), device.name)
    return state and state.name


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("fault", "kind", "remedy"),
    [
        ("unauthorized", PhoneUnauthorized, "accept the key"),
        ("offline", PhoneOffline, "wake it up"),
        ("recovery", PhoneNotBooted, "reboot"),
        ("sideload", PhoneNotBooted, "restart it"),
        ("bootloader", PhoneNotBooted, "fastboot reboot"),
    ],
)
def test_a_phone_that_is_not_ready(
    new_phone: NewPhone,
    fault: FaultKind,
    kind: type[PhoneNotReady],
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phone = new_phone()
    phone.have(fault)
    error = refused(phone.device)
    assert type(error) is kind
    assert f" is {fault}: " in error.message
    known = state_of(fault)
    assert known is not None
    assert known.policy == ("reconnect" if fault == "offline" else "ask")
    assert remedy in error.message
    assert phone.serial in error.message
    phone.have("none")
    monkeypatch.setattr(adb, "READY_TIMEOUT_S", 20.0)
    wait_until(lambda: state_name(phone.device) != fault)
    with connect(phone.device) as transport:
        assert shell(transport, "echo well") == b"well\n"


def test_a_phone_that_never_saw_this_host(new_phone: NewPhone) -> None:
    """It accepts the first key that it is shown, and no other host's."""
    phone = new_phone()
    with connect(phone.device) as transport:
        assert shell(transport, "id -un") == b"shell\n"
    assert len((phone.folder / "adb_keys").read_text().splitlines()) == 1


@pytest.mark.usefixtures("_impatient")
def test_a_phone_that_is_not_there() -> None:
    for serial in ("127.0.0.1:1", "0123456789ABCDEF"):
        error = refused(Device("gone", "adb", address=Address(serial=serial)))
        assert isinstance(error, PhoneDisconnected)
        assert serial in error.message


def test_a_phone_that_goes_while_it_is_open(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        shell(transport, "true")
        phone.have("unauthorized")
        with pytest.raises(PhoneNotReady, match="unauthorized"):
            transport.run(["true"], timeout_s=3)


def test_a_phone_that_goes_as_it_is_opened(phone: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    request, asked = adb._request, list[str]()

    def gone_at_first(port: int, words: str, device: str) -> str:
        if words.endswith(":features"):
            asked.append(words)
            if len(asked) == 1:
                raise TransportError("device offline", device=device)
        return request(port, words, device)

    monkeypatch.setattr(adb, "_request", gone_at_first)
    with connect(phone) as transport:
        shell(transport, "true")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("word", "name", "policy"),
    [
        ("no permissions (user in plugdev group; see [url])", "no permissions", "ask"),
        ("authorizing", "authorizing", "wait"),
        ("connecting", "connecting", "wait"),
        ("meditating", "meditating", "ask"),
    ],
)
def test_words_of_adb(word: str, name: str, policy: Policy) -> None:
    state = state_of(word)
    assert state is not None
    assert (state.name, state.policy) == (name, policy)
    error = not_ready(state, device="d", serial="s")
    assert isinstance(error, PhoneNotPermitted) == (name == "no permissions")
    assert state_of("device") is None


@pytest.fixture
def phone_and_transport(new_phone: NewPhone) -> Iterator[tuple[VirtualPhone, Transport]]:
    phone = new_phone()
    with connect(phone.device) as transport:
        yield phone, transport


def drop_after(phone: VirtualPhone, seconds: float) -> None:
    timer = threading.Timer(seconds, phone.have, ("drop",))
    timer.daemon = True
    timer.start()


def test_dropped_in_a_run(phone_and_transport: tuple[VirtualPhone, Transport]) -> None:
    phone, transport = phone_and_transport
    mark = marker()
    drop_after(phone, 1.0)
    with pytest.raises(TransportError, match="the connection broke"):
        transport.run(("sh", "-c", f"sleep {mark} | sleep {mark}"), timeout_s=60)
    with connect(transport.device) as again:
        assert_dies(again, mark)


def test_dropped_in_a_push(
    phone_and_transport: tuple[VirtualPhone, Transport], tmp_path: Path
) -> None:
    phone, transport = phone_and_transport
    data = os.urandom(BIG)
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "artifact").write_bytes(data)
    remote = f"{transport.device.workdir}/model"
    phone.have("drop", after_bytes=BIG // 4)
    with pytest.raises(TransportError, match="push to"):
        transport.push(tmp_path / "artifact", remote, sha256=sha256, timeout_s=60)
    with connect(transport.device) as again:
        assert shell_in(again, transport.device.workdir, "ls") == f"model.part-{sha256}\n".encode()
        assert 0 < again.push(tmp_path / "artifact", remote, sha256=sha256, timeout_s=60) < BIG
        assert shell(again, 'cat "$1"', remote) == data


def test_dropped_in_a_pull(
    phone_and_transport: tuple[VirtualPhone, Transport], tmp_path: Path
) -> None:
    phone, transport = phone_and_transport
    workdir = transport.device.workdir
    shell_in(transport, workdir, f"head -c {BIG} /dev/zero > big")
    phone.have("drop", after_bytes=BIG // 4)
    with pytest.raises(TransportError, match="the connection broke"):
        transport.pull(workdir, tmp_path / "got", limits=PullLimits(), timeout_s=60)
    assert left_in(tmp_path) == []
    with connect(transport.device) as again:
        shell_in(again, workdir, "rm big; echo x > small")
        assert again.pull(workdir, tmp_path / "got", limits=PullLimits(), timeout_s=60)


def test_a_wrong_byte_in_a_pull(
    phone_and_transport: tuple[VirtualPhone, Transport], tmp_path: Path
) -> None:
    phone, transport = phone_and_transport
    shell_in(transport, transport.device.workdir, "head -c 2000000 /dev/zero > data")
    phone.have("wrong-data", after_bytes=500_000)
    with pytest.raises(ArtifactCorrupt, match="run the job again"):
        transport.pull(
            transport.device.workdir, tmp_path / "got", limits=PullLimits(), timeout_s=60
        )
    assert left_in(tmp_path) == []


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_nobody_elses_server_is_touched(new_phone: NewPhone) -> None:
    usual = 5037
    before = listens(usual)
    device = new_phone().device
    with connect(device) as transport:
        shell(transport, "true")
        assert listens(adb.server_port())
        assert adb.server_port() != usual
        program = shutil.which("adb")
        assert program is not None
        subprocess.run([program, "-P", str(adb.server_port()), "kill-server"], check=True)
        with pytest.raises(TransportError):
            transport.run(["true"], timeout_s=10)
    assert listens(usual) == before
    with connect(device) as transport:  # starts it again
        shell(transport, "true")


def test_something_else_at_our_port(monkeypatch: pytest.MonkeyPatch, new_phone: NewPhone) -> None:
    device = new_phone().device
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(adb.PORT_VARIABLE, str(listener.getsockname()[1]))

        def greet() -> None:
            while True:
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(TransportError, match=adb.PORT_VARIABLE), connect(device):
            pytest.fail("connected")


def test_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, new_phone: NewPhone
) -> None:
    device = new_phone().device
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(adb.PORT_VARIABLE, str(listener.getsockname()[1]))
        monkeypatch.setattr(adb, "_REQUEST_TIMEOUT_S", 0.3)
        with pytest.raises(DeviceTimeout, match="did not answer"), connect(device):
            pytest.fail("connected")


def test_no_adb_on_this_host(
    monkeypatch: pytest.MonkeyPatch, new_phone: NewPhone, tmp_path: Path
) -> None:
    device = new_phone().device
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv(adb.PORT_VARIABLE, str(free.getsockname()[1]))
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "no-adb"))
    with pytest.raises(TransportError, match="apt-get install adb"), connect(device):
        pytest.fail("connected")


def test_settings_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="serial"):
        adb.serial_of(Device("d", "adb"))
    for text in ("80", "65536", "x", "-1"):
        monkeypatch.setenv(adb.PORT_VARIABLE, text)
        with pytest.raises(UsageError, match="1024 to 65535"):
            adb.server_port()


def test_a_phone_on_the_network_needs_no_serial(phone: Device) -> None:
    named = replace(phone, address=Address(serial=adb.serial_of(phone)))
    for device in (phone, named):
        with connect(device) as transport:
            assert shell(transport, "echo well") == b"well\n"
