"""What only phones have: states, drops, and an adb server of our own. The adb is the real one."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from farm.transports import adb, connect
from farm.transports.phone_state import PhoneNotReady, Policy, state_of
from harness.device import Address, Device, PullLimits, Transport
from harness.errors import DeviceTimeout, TransportError, UsageError
from tests.farm.transports.adbd import Mode, Phone
from tests.farm.transports.conftest import left_in, shell, shell_in
from tests.farm.transports.test_run import assert_dies, marker

BIG = 32 << 20
NewPhone = Callable[[Mode], tuple[Phone, Device]]

pytestmark = pytest.mark.usefixtures("adb_server")


@pytest.fixture
def new_phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPhone]:
    with ExitStack() as phones:

        def start(mode: Mode) -> tuple[Phone, Device]:
            phone = Phone(mode)
            phones.callback(phone.close)
            workdir = str(tmp_path_factory.mktemp("phone"))
            return phone, Device(
                "pixel", "adb", address=Address(serial=phone.serial), workdir=workdir
            )

        yield start


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "READY_TIMEOUT_S", 1.0)


def refused(device: Device) -> PhoneNotReady:
    with pytest.raises(PhoneNotReady) as caught, connect(device):
        pytest.fail("connected")
    assert caught.value.device == device.name
    return caught.value


def noticed(device: Device, mode: Mode) -> None:
    """Wait until adb has seen that a phone left a state."""
    deadline = time.monotonic() + 10
    while (state := adb.find_state(adb.server_port(), adb.serial_of(device), device.name)) and (
        state.name == mode
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("mode", "policy", "remedy"),
    [
        ("unauthorized", "ask", "accept the key"),
        ("offline", "reconnect", "wake it up"),
        ("recovery", "ask", "reboot"),
        ("sideload", "ask", "restart it"),
        ("bootloader", "ask", "fastboot reboot"),
    ],
)
def test_a_phone_that_is_not_ready(
    new_phone: NewPhone,
    mode: Mode,
    policy: Policy,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phone, device = new_phone(mode)
    error = refused(device)
    deadline = time.monotonic() + 30
    while error.state.name == "authorizing" and time.monotonic() < deadline:  # on its way
        time.sleep(0.1)
        error = refused(device)
    assert (error.state.name, error.state.policy) == (mode, policy)
    assert remedy in error.message
    assert phone.serial in error.message
    phone.mode = "device"
    phone.drop()
    noticed(device, mode)
    monkeypatch.setattr(adb, "READY_TIMEOUT_S", 20.0)
    with connect(device) as transport:
        assert shell(transport, "echo well") == b"well\n"


@pytest.mark.usefixtures("_impatient")
def test_a_phone_that_is_not_there() -> None:
    for serial in ("127.0.0.1:1", "0123456789ABCDEF"):
        error = refused(Device("gone", "adb", address=Address(serial=serial)))
        assert error.state.name == "disconnected"
        assert serial in error.message


@pytest.mark.usefixtures("_impatient")
def test_a_phone_that_goes_while_it_is_open(new_phone: NewPhone) -> None:
    phone, device = new_phone("device")
    with connect(device) as transport:
        shell(transport, "true")
        phone.mode = "unauthorized"
        phone.drop()
        with pytest.raises(TransportError):
            transport.run(["sleep", "5"], timeout_s=3)
        with pytest.raises(PhoneNotReady):
            transport.run(["true"], timeout_s=3)


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
    assert state_of("device") is None


@pytest.fixture
def dropping(new_phone: NewPhone) -> Iterator[tuple[Phone, Transport]]:
    phone, device = new_phone("device")
    with connect(device) as transport:
        yield phone, transport


def drop_after(phone: Phone, seconds: float) -> None:
    timer = threading.Timer(seconds, phone.drop)
    timer.daemon = True
    timer.start()


def test_dropped_in_a_run(dropping: tuple[Phone, Transport]) -> None:
    phone, transport = dropping
    mark = marker()
    drop_after(phone, 0.3)
    with pytest.raises(TransportError, match="the connection broke"):
        transport.run(("sh", "-c", f"sleep {mark} | sleep {mark}"), timeout_s=60)
    with connect(transport.device) as again:
        assert_dies(again, mark)


def test_dropped_in_a_push(
    dropping: tuple[Phone, Transport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, transport = dropping
    data = os.urandom(BIG)
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "artifact").write_bytes(data)
    remote = f"{transport.device.workdir}/model"
    partial = Path(f"{remote}.part-{sha256}")
    send = adb._ShellChannel.send

    def send_and_drop(channel: adb._ShellChannel, data: bytes) -> None:
        send(channel, data)
        if partial.exists() and partial.stat().st_size > BIG // 8:
            phone.drop()

    monkeypatch.setattr(adb._ShellChannel, "send", send_and_drop)
    with pytest.raises(TransportError, match="push to"):
        transport.push(tmp_path / "artifact", remote, sha256=sha256, timeout_s=60)
    monkeypatch.undo()
    with connect(transport.device) as again:
        assert shell_in(again, transport.device.workdir, "ls") == f"model.part-{sha256}\n".encode()
        assert 0 < again.push(tmp_path / "artifact", remote, sha256=sha256, timeout_s=60) < BIG
        assert shell(again, 'cat "$1"', remote) == data


def test_dropped_in_a_pull(dropping: tuple[Phone, Transport], tmp_path: Path) -> None:
    phone, transport = dropping
    workdir = transport.device.workdir
    shell_in(transport, workdir, "head -c 300000000 /dev/zero > big")
    drop_after(phone, 0.3)
    with pytest.raises(TransportError, match="the connection broke"):
        transport.pull(workdir, tmp_path / "got", limits=PullLimits(), timeout_s=60)
    assert left_in(tmp_path) == []
    with connect(transport.device) as again:
        shell_in(again, workdir, "rm big; echo x > small")
        assert again.pull(workdir, tmp_path / "got", limits=PullLimits(), timeout_s=60)


def test_a_drop_disturbs_no_other_phone(new_phone: NewPhone) -> None:
    phones = [new_phone("device") for _ in range(4)]

    def drop_it() -> None:
        with connect(phones[0][1]) as transport:
            drop_after(phones[0][0], 0.3)
            transport.run(["sleep", "30"], timeout_s=60)

    def work(number: int) -> list[bytes]:
        with connect(phones[number][1]) as transport:
            return [shell(transport, "sleep 0.1; echo well") for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        dropped = pool.submit(drop_it)
        others = [pool.submit(work, number) for number in (1, 2, 3)]
    with pytest.raises(TransportError, match="the connection broke"):
        dropped.result()
    assert [each.result() for each in others] == [[b"well\n"] * 8] * 3


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_nobody_elses_server_is_touched(new_phone: NewPhone) -> None:
    usual = 5037
    before = listens(usual)
    _, device = new_phone("device")
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
    _, device = new_phone("device")
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
    _, device = new_phone("device")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(adb.PORT_VARIABLE, str(listener.getsockname()[1]))
        monkeypatch.setattr(adb, "_REQUEST_TIMEOUT_S", 0.3)
        with pytest.raises(DeviceTimeout, match="did not answer"), connect(device):
            pytest.fail("connected")


def test_no_adb_on_this_host(
    monkeypatch: pytest.MonkeyPatch, new_phone: NewPhone, tmp_path: Path
) -> None:
    _, device = new_phone("device")
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
