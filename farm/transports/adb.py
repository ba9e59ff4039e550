"""adb transport: phones, through an adb server of our own.

The server listens on a port of its own, so that nobody else's server is touched; it is started when
it is not there, and never stopped. Every request names the phone's serial. Commands go through the
shell protocol v2 (Android 7 and newer), files through the same shell as on any other device.
"""

import math
import os
import re
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import cast

import adbutils

from farm.transports.channel import Channel, Stream
from farm.transports.phone_state import PhoneState, not_ready, state_of
from farm.transports.shell import ShellTransport
from harness.device import Device, Transport
from harness.errors import DeviceError, DeviceTimeout, TransportError, UsageError

PORT_VARIABLE = "EDGEFARM_ADB_PORT"
DEFAULT_PORT = 5137
READY_TIMEOUT_S = 20.0
_REQUEST_TIMEOUT_S = 15.0
_LOOK_AGAIN_S = 0.5
_SETTLE_S = 1.5  # a phone that accepts our key for the first time is unauthorized for a moment
_RECONNECT_AGAIN_S = 4.0  # adb itself may be reconnecting: give it time
_PIECE_BYTES = 64 << 10
_STARTING = threading.Lock()

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PACKET = struct.Struct("<BI")


@contextmanager
def connect(device: Device) -> Iterator[Transport]:
    """Make sure that a phone is ready, and open it.

    Raises:
        UsageError: no serial, or the port of the server is not free.
        PhoneNotReady: it is in a state that takes no commands, and did not leave it in time.
        TransportError: there is no adb here, or the phone is too old.
    """
    serial = serial_of(device)
    port = start_server(device.name)
    if "shell_v2" not in _features(port, serial, device.name):
        raise TransportError(
            f"phone {serial} has no shell protocol v2; Android 7 or newer is needed",
            device=device.name,
        )

    def open_channel(command: str, timeout_s: float) -> Channel:
        deadline = time.monotonic() + timeout_s
        try:
            return _ShellChannel(port, serial, command, timeout_s)
        except ConnectionError as error:
            if "offline" not in str(error) and find_state(port, serial, device.name) is None:
                raise
        # It went away since: nothing has been started, so it is waited for as at the beginning.
        _make_ready(port, serial, device.name, min(timeout_s, READY_TIMEOUT_S))
        return _ShellChannel(port, serial, command, max(deadline - time.monotonic(), 0.1))

    transport = ShellTransport(device, open_channel, lambda: None)
    try:
        yield transport
    finally:
        transport.close()


def _features(port: int, serial: str, device: str) -> list[str]:
    """Wait for a phone, and ask what it can; again when it goes away in between, as in a reboot."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        _make_ready(port, serial, device, max(deadline - time.monotonic(), 0))
        try:
            return _request(port, f"host-serial:{serial}:features", device).split(",")
        except TransportError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_AGAIN_S)


def serial_of(device: Device) -> str:
    """The serial that names a phone to adb; ``host:port`` for one on the network."""
    address = device.address
    if address.serial:
        return address.serial
    if address.host:
        return f"{address.host}:{address.port}"
    raise UsageError(f"device {device.name}: give its entry a serial; `adb devices` lists them")


def server_port() -> int:
    """Where our adb server listens: ``$EDGEFARM_ADB_PORT``, else `DEFAULT_PORT`."""
    text = os.environ.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    if not re.fullmatch("[0-9]{1,5}", text) or not 1024 <= int(text) <= 65535:
        raise UsageError(f"{PORT_VARIABLE}={text!r}: expected a port, 1024 to 65535")
    return int(text)


def start_server(device: str) -> int:
    """Make sure that our adb server runs; returns its port."""
    port = server_port()
    with _STARTING:
        if not _listens(port):
            _launch_server(port, device)
    return port


def forget(serial: str) -> None:
    """Have our adb server, if there is one, no longer look for a phone of the network that is gone.

    It would try again for minutes, and on and on once something else listens where the phone did.
    """
    port = server_port()
    if _listens(port):
        with suppress(DeviceError):  # it did not know the phone
            _request(port, f"host:disconnect:{serial}", serial)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), _REQUEST_TIMEOUT_S):
        return True
    return False


def _launch_server(port: int, device: str) -> None:
    # Into a file: the server that stays would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [adbutils.adb_path(), "-P", str(port), "start-server"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=READY_TIMEOUT_S,
                check=False,
            )
        except (adbutils.AdbError, OSError) as error:
            raise TransportError(
                f"no adb runs on this host ({error}); Debian: apt-get install adb", device=device
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DeviceTimeout(
                f"the adb server did not start within {READY_TIMEOUT_S:g} s", device=device
            ) from error
        # Another process may have been faster by a moment: then its server is there.
        if done.returncode != 0 and not _listens(port):
            output.seek(0)
            raise TransportError(
                f"the adb server did not start on port {port}; if the port is taken, set "
                f"{PORT_VARIABLE}",
                device=device,
                exit_status=done.returncode,
                stderr=output.read().decode(errors="replace"),
            )


def find_state(port: int, serial: str, device: str) -> PhoneState | None:
    """The state that a phone is in; None when it is ready."""
    for line in _request(port, "host:devices", device).splitlines():
        name, _, word = line.partition("\t")
        if name == serial:
            return state_of(word)
    return state_of("disconnected")


def _make_ready(port: int, serial: str, device: str, timeout_s: float) -> None:
    """Wait for a phone, with a new connection where that may help.

    Raises:
        PhoneNotReady: it needs a person, or it did not become ready in time.
    """
    now = reconnect_at = time.monotonic()
    deadline = now + timeout_s
    asked_at: float | None = None
    while (state := find_state(port, serial, device)) is not None:
        now = time.monotonic()
        asks = state.policy == "ask"
        asked_at = None if not asks else asked_at or now
        if now >= deadline or (asked_at is not None and now - asked_at >= _SETTLE_S):
            raise not_ready(state, device=device, serial=serial)
        if state.policy == "reconnect" and now >= reconnect_at:
            _reconnect(port, serial, device)
            reconnect_at = time.monotonic() + _RECONNECT_AGAIN_S
        else:
            time.sleep(_LOOK_AGAIN_S)


def _reconnect(port: int, serial: str, device: str) -> None:
    """Renew the connection to one phone; what adb answers does not matter, its state does."""
    networked = re.fullmatch(r".+:[0-9]{1,5}", serial)
    for request in (
        (f"host:disconnect:{serial}", f"host:connect:{serial}")
        if networked
        else (f"host-serial:{serial}:reconnect",)
    ):
        with suppress(DeviceError):
            _request(port, request, device)


class _Connection(adbutils.AdbConnection):  # type: ignore[misc]  # it has no types
    """To our server; adbutils' own would start one on the port that everybody uses."""

    def _safe_connect(self) -> socket.socket:
        return cast(socket.socket, self._create_socket())


def _request(port: int, request: str, device: str) -> str:
    """Ask the server; returns its answer."""
    try:
        with closing(_Connection("127.0.0.1", port)) as connection:
            connection.conn.settimeout(_REQUEST_TIMEOUT_S)
            connection.send_command(request)
            connection.check_okay()
            return cast(str, connection.read_string_block())
    except (adbutils.AdbTimeout, TimeoutError) as error:
        raise DeviceTimeout(
            f"the adb server on port {port} did not answer {request!r}", device=device
        ) from error
    except (adbutils.AdbError, OSError, ValueError) as error:
        raise TransportError(
            f"the adb server on port {port} answered {request!r} with: {error}; if something else "
            f"listens there, set {PORT_VARIABLE}",
            device=device,
        ) from error


def _open_service(port: int, serial: str, service: str, timeout_s: float) -> socket.socket:
    """A connection to a service of a phone; raises OSError, TimeoutError too."""
    try:
        connection = _Connection("127.0.0.1", port)
        try:
            connection.conn.settimeout(timeout_s)
            for request in (f"host:transport:{serial}", service):
                connection.send_command(request)
                connection.check_okay()
        except BaseException:
            connection.close()
            raise
    except adbutils.AdbTimeout as error:
        raise TimeoutError from error
    except adbutils.AdbError as error:
        raise ConnectionError(str(error)) from error
    return cast(socket.socket, connection.conn)


class _ShellChannel:
    """A command by the shell protocol v2: packets of kind, length and data, both ways."""

    def __init__(self, port: int, serial: str, command: str, timeout_s: float) -> None:
        self._socket = _open_service(port, serial, f"shell,v2,raw:{command}", timeout_s)
        self._socket.settimeout(None)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._sending = threading.Lock()
        self._header = b""
        self._kind, self._left = _STDOUT, 0
        self._status: int | None = None

    def receive(self, timeout_s: float) -> tuple[Stream, bytes] | None:
        deadline = time.monotonic() + timeout_s
        while True:
            wanted = self._left or _PACKET.size - len(self._header)
            data = self._read(min(wanted, _PIECE_BYTES), deadline)
            if not data and self._status is not None:
                return None
            if not data:
                raise ConnectionError("the phone or its adb server went away")
            if not self._left:
                self._header += data
                if len(self._header) == _PACKET.size:
                    self._kind, self._left = _PACKET.unpack(self._header)
                    self._header = b""
                continue
            self._left -= len(data)
            if self._kind == _STDOUT:
                return Stream.STDOUT, data
            if self._kind == _STDERR:
                return Stream.STDERR, data
            if self._kind == _EXIT:
                self._status = data[0]

    def send(self, data: bytes) -> None:
        with self._sending:
            for start in range(0, len(data), _PIECE_BYTES):
                piece = data[start : start + _PIECE_BYTES]
                self._socket.sendall(_PACKET.pack(_STDIN, len(piece)) + piece)

    def end_input(self) -> None:
        with self._sending:
            self._socket.sendall(_PACKET.pack(_CLOSE_STDIN, 0))

    def exit_status(self, timeout_s: float) -> int:  # noqa: ARG002  it has come with the output
        if self._status is None:
            raise ConnectionError("closed without an exit status")
        return self._status

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._sending:  # a blocked send has ended by now
            self._socket.close()

    def sever(self) -> None:
        self.close()

    def _read(self, size: int, deadline: float) -> bytes:
        remaining_s = max(deadline - time.monotonic(), 0)
        if not self._poll.poll(math.ceil(remaining_s * 1000)):
            raise TimeoutError
        return self._socket.recv(size)
