"""What only SSH has: host keys, logins, and servers that are no SSH servers."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from farm.transports import connect, ssh
from harness.device import Address, Device
from harness.errors import (
    DeviceTimeout,
    HarnessError,
    HostKeyChanged,
    TransportError,
    UsageError,
)


def refused(device: Device, kind: type[HarnessError], match: str) -> str:
    with pytest.raises(kind, match=match) as caught, connect(device):
        pytest.fail("connected")
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


class Recorder(paramiko.ServerInterface):
    """Notes what a client says of itself."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        self.said.append(username)
        return "publickey"

    def check_auth_none(self, username: str) -> int:
        self.said.append(username)
        return paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.said.append(f"{username} {key.fingerprint}")
        return paramiko.AUTH_FAILED


@pytest.fixture
def impostor() -> Iterator[tuple[Address, Recorder]]:
    """An SSH server with a key of its own that lets nobody in."""
    recorder, key = Recorder(), paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener was closed
                while True:
                    server = paramiko.Transport(listener.accept()[0])
                    server.add_server_key(key)
                    with suppress(OSError, EOFError, paramiko.SSHException):  # a client left early
                        server.start_server(server=recorder)

        threading.Thread(target=serve, daemon=True).start()
        yield Address("127.0.0.1", listener.getsockname()[1], "edge"), recorder
        listener.shutdown(socket.SHUT_RDWR)


def test_another_host_key_is_told_nothing(
    cortex_a76: Device, impostor: tuple[Address, Recorder]
) -> None:
    address, recorder = impostor
    assert cortex_a76.host_key is not None
    there = replace(cortex_a76.address, port=address.port)
    message = refused(replace(cortex_a76, address=there), HostKeyChanged, "ecdsa-sha2-nistp256")
    assert cortex_a76.host_key in message
    assert ssh.scan_host_key("127.0.0.1", address.port) in message
    assert recorder.said == []


def test_a_pinned_server_is_told_who_we_are(
    cortex_a76: Device, impostor: tuple[Address, Recorder]
) -> None:
    address, recorder = impostor
    there = replace(cortex_a76.address, port=address.port)
    pin = ssh.scan_host_key(there.host, there.port)
    refused(replace(cortex_a76, address=there, host_key=pin), TransportError, "refused")
    assert recorder.said


def test_without_a_pin_there_is_no_connection(cortex_a76: Device) -> None:
    device = replace(cortex_a76, host_key=None)
    message = refused(device, UsageError, "no host key is pinned")
    assert f"edgefarm device add {device.name} … --accept-host-key SHA256:…" in message


def test_scans_the_key_that_the_board_was_given(cortex_a76: Device) -> None:
    address = cortex_a76.address
    assert ssh.scan_host_key(address.host, address.port) == cortex_a76.host_key


def test_a_login_that_is_refused(cortex_a76: Device, tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(tmp_path / "stranger"))
    address = replace(cortex_a76.address, key_file=str(tmp_path / "stranger"))
    message = refused(replace(cortex_a76, address=address), TransportError, "refused")
    assert "authorized_keys" in message
    assert "stranger" in message


def test_a_key_file_that_is_none(cortex_a76: Device, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(os.urandom(200))
    (tmp_path / "empty").touch()
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "locked"), password="word")  # noqa: S106  of a key made here
    for name, match in (
        ("absent", "No such file"),
        ("garbage", "cannot be used"),
        ("empty", "cannot be used"),
        ("locked", "passphrase belongs into the SSH agent"),
    ):
        address = replace(cortex_a76.address, key_file=str(tmp_path / name))
        refused(replace(cortex_a76, address=address), UsageError, match)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    program = shutil.which("ssh-agent")
    if program is None:
        pytest.skip("no ssh-agent here: apt-get install openssh-client")
    path = tmp_path / "agent"
    process = subprocess.Popen([program, "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    while not path.exists():
        assert process.poll() is None
    yield
    process.kill()
    process.wait()


@pytest.mark.usefixtures("agent")
def test_logs_in_with_the_agents_keys(cortex_a76: Device, tmp_path: Path) -> None:
    device = replace(cortex_a76, address=replace(cortex_a76.address, key_file=None))
    refused(device, UsageError, "ssh-add")
    program = shutil.which("ssh-add")
    assert program is not None
    stranger = tmp_path / "stranger"
    paramiko.ECDSAKey.generate().write_private_key_file(str(stranger))
    assert cortex_a76.address.key_file is not None
    for key_file in (str(stranger), cortex_a76.address.key_file):
        subprocess.run([program, "-q", key_file], check=True)
    with connect(device) as transport:
        assert transport.run(["true"], timeout_s=60).exit_status == 0


def at(host: str, port: int) -> Device:
    return Device("elsewhere", "ssh", address=Address(host, port, "edge"), host_key="SHA256:x")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused(at("127.0.0.1", port), TransportError, f"nothing listens at 127.0.0.1:{port}")


def test_no_such_host() -> None:
    refused(at("no-such-host.invalid", 22), TransportError, "no such host 'no-such-host.invalid'")


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refused(at(*listener.getsockname()), DeviceTimeout, "does not answer within 0.3 s")


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", os.urandom(4000)])
def test_a_server_that_speaks_no_ssh(greeting: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served: list[bytes] = []

        def greet() -> None:
            for _ in range(3):
                with listener.accept()[0] as connection:
                    served.append(greeting)
                    connection.sendall(greeting)

        threading.Thread(target=greet, daemon=True).start()
        refused(at(*listener.getsockname()), TransportError, "broke off the SSH key exchange")
    assert len(served) == 3
    assert capfd.readouterr().err == ""


def test_a_server_that_breaks_off_once_is_asked_again(cortex_a76: Device) -> None:
    """As OpenSSH does beyond MaxStartups."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            listener.accept()[0].close()
            ours = listener.accept()[0]
            theirs = socket.create_connection((cortex_a76.address.host, cortex_a76.address.port))
            threading.Thread(target=pass_on, args=(ours, theirs), daemon=True).start()
            pass_on(theirs, ours)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        moved = replace(cortex_a76, address=replace(cortex_a76.address, port=port))
        with connect(moved) as transport:
            assert transport.run(("echo", "there"), timeout_s=30).stdout == b"there\n"


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def test_an_unknown_transport() -> None:
    with pytest.raises(UsageError, match=r"transports: .*local, ssh"):
        connect(Device("d", "pigeon"))  # type: ignore[arg-type]  # what a file may say
