"""SSH transport on paramiko, with the host key pinned in the device's entry.

The host's key is compared before authentication: a host that shows another key learns neither the
user's name nor a signature.
"""

import getpass
import logging
import math
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import paramiko

from farm.transports.channel import Channel, Stream
from farm.transports.shell import ShellTransport
from harness.device import Address, Device, Transport
from harness.errors import DeviceTimeout, HostKeyChanged, TransportError, UsageError
from harness.host.plain_files import open_plain

CONNECT_TIMEOUT_S = 15.0
_TRIES = 3
_PAUSE_S = 1.0
_DEAD_PEER_S = 30
_PIECE_BYTES = 64 << 10

# Without a handler, Python prints the tracebacks that paramiko logs.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@contextmanager
def connect(device: Device) -> Iterator[Transport]:
    """Open an authenticated connection to a device whose host key is the pinned one.

    Raises:
        UsageError: no pin, or no key to log in with.
        HostKeyChanged: the host shows another key; nothing of ours was sent to it.
        TransportError: unreachable, refused, unknown name, or the login was refused.
        DeviceTimeout: no answer.
    """
    address = device.address
    if device.host_key is None:
        raise UsageError(
            f"device {device.name}: no host key is pinned; look at its fingerprint on the device "
            "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and add it with "
            f"`edgefarm device add {device.name} … --accept-host-key SHA256:…`"
        )
    with closing(_open(address, device.name)) as connection:
        shown = connection.get_remote_server_key()
        if shown.fingerprint != device.host_key:
            raise HostKeyChanged(
                f"host key of {_where(address)} is {shown.fingerprint} ({shown.get_name()}), "
                f"pinned is {device.host_key}; if the device was set up anew, remove it and add it "
                "again, otherwise somebody else answers at its address",
                device=device.name,
            )
        _log_in(connection, device)

        def open_channel(command: str, timeout_s: float) -> Channel:
            return _SshChannel(connection, command, timeout_s)

        transport = ShellTransport(device, open_channel, connection.close)
        try:
            yield transport
        finally:
            transport.close()


def scan_host_key(host: str, port: int = 22) -> str:
    """Return the fingerprint, ``SHA256:…``, of the host key that an SSH server shows.

    For the first contact only: it proves nothing until a person compares it with the device's.
    """
    with closing(_open(Address(host=host, port=port), f"{host}:{port}")) as connection:
        return str(connection.get_remote_server_key().fingerprint)


def _open(address: Address, device: str) -> paramiko.Transport:
    """Connect and agree on keys; nothing is said about who we are.

    A server that is short of processes, or has too many in that state (MaxStartups), breaks off at
    once: then it is tried again.
    """
    where = _where(address)
    why = ""
    for number in range(_TRIES):
        time.sleep(_PAUSE_S if number else 0)
        connection = paramiko.Transport(_dial(address, device))
        why = _broken_off(connection, where, device)
        if not why:
            return connection
    raise TransportError(f"{where} broke off the SSH key exchange ({why})", device=device)


def _dial(address: Address, device: str) -> socket.socket:
    where = _where(address)
    try:
        connected = socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S)
    except socket.gaierror as error:
        raise TransportError(
            f"no such host {address.host!r} ({error.strerror}); check the device's address",
            device=device,
        ) from error
    except ConnectionRefusedError as error:
        raise TransportError(
            f"nothing listens at {where}; is the device on and its SSH server running?",
            device=device,
        ) from error
    except TimeoutError as error:
        raise DeviceTimeout(
            f"no answer from {where} within {CONNECT_TIMEOUT_S:g} s; is it on and in reach?",
            device=device,
        ) from error
    except OSError as error:
        raise TransportError(
            f"cannot reach {where} ({error.strerror}); is it on and in reach?", device=device
        ) from error
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_S * 1000)
    return connected


def _broken_off(connection: paramiko.Transport, where: str, device: str) -> str:
    """Agree on keys; why the server ended the connection before, or ""."""
    connection.banner_timeout = CONNECT_TIMEOUT_S
    agreed = threading.Event()
    connection.start_client(event=agreed)
    if agreed.wait(CONNECT_TIMEOUT_S) and connection.is_active():
        connection.set_keepalive(_DEAD_PEER_S // 2)
        return ""
    stalled, reason = connection.is_active(), connection.get_exception()
    connection.close()
    if stalled:
        raise DeviceTimeout(
            f"{where} accepts connections but its SSH server does not answer within "
            f"{CONNECT_TIMEOUT_S:g} s",
            device=device,
        )
    return str(reason or "no reason given")


def _log_in(connection: paramiko.Transport, device: Device) -> None:
    """Authenticate with the key file, or with each key of the agent in turn."""
    user = device.address.user or getpass.getuser()
    where = f"{user}@{_where(device.address)}"
    connection.auth_timeout = CONNECT_TIMEOUT_S
    refused: paramiko.SSHException | None = None
    with _login_keys(device) as keys:
        for key in keys:
            try:
                connection.auth_publickey(user, key)
            except paramiko.AuthenticationException as error:
                refused = error
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise TransportError(
                    f"{where} broke off the login ({error or type(error).__name__})",
                    device=device.name,
                ) from error
            if connection.is_authenticated():
                return
            if not connection.is_active():
                break
    tried = device.address.key_file or "the agent's keys"
    raise TransportError(
        f"{where} refused {tried} ({refused}); add the public key to ~/.ssh/authorized_keys of "
        f"{user} on the device",
        device=device.name,
    )


@contextmanager
def _login_keys(device: Device) -> Iterator[Sequence[paramiko.PKey]]:
    key_file = device.address.key_file
    if key_file is not None:
        yield (read_key(Path(key_file).expanduser(), device.name),)
        return
    with closing(paramiko.Agent()) as agent:
        keys = agent.get_keys()
        if not keys:
            raise UsageError(
                f"device {device.name}: no key to log in with; give its entry a key_file or add a "
                "key to the SSH agent (ssh-add)"
            )
        yield keys


def read_key(path: Path, device: str) -> paramiko.PKey:
    """The private key in a file.

    Raises:
        UsageError: there is none, or it cannot be used.
    """
    try:
        open_plain(path).close()  # paramiko would wait for a pipe
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise UsageError(f"device {device}: key_file {path}: {error.strerror}") from error
    except (ValueError, TypeError, paramiko.SSHException) as error:
        raise UsageError(
            f"device {device}: key_file {path} cannot be used ({error}); a key with a passphrase "
            "belongs into the SSH agent (ssh-add), and key_file is then left out"
        ) from error


def _where(address: Address) -> str:
    return f"{address.host}:{address.port}"


class _SshChannel:
    """A command in an SSH session channel."""

    def __init__(self, connection: paramiko.Transport, command: str, timeout_s: float) -> None:
        self._connection = connection
        # exec_command has no time limit of its own; closing the connection ends it.
        deadline = time.monotonic() + timeout_s
        overdue = threading.Timer(timeout_s, connection.close)
        overdue.start()
        try:
            self._channel = connection.open_session(timeout=timeout_s)
            self._channel.exec_command(command)
        except (paramiko.SSHException, EOFError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError from error
            raise ConnectionError(str(error) or "end of file") from error
        finally:
            overdue.cancel()
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)

    def receive(self, timeout_s: float) -> tuple[Stream, bytes] | None:
        deadline = time.monotonic() + timeout_s
        while True:
            # Looked at before the buffers: what comes after the look is read in the next round.
            ended, closed = self._channel.eof_received, self._channel.closed
            if self._channel.recv_ready():
                return Stream.STDOUT, self._channel.recv(_PIECE_BYTES)
            if self._channel.recv_stderr_ready():
                return Stream.STDERR, self._channel.recv_stderr(_PIECE_BYTES)
            if ended:
                return None
            if closed:
                raise ConnectionError(str(self._connection.get_exception() or "closed"))
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError
            self._poll.poll(math.ceil(remaining_s * 1000))

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError(str(error) or "end of file") from error

    def end_input(self) -> None:
        try:
            self._channel.shutdown_write()
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError(str(error) or "end of file") from error

    def exit_status(self, timeout_s: float) -> int:
        if not self._channel.status_event.wait(timeout_s):
            raise TimeoutError("no exit status after the end of its output")
        status = int(self._channel.recv_exit_status())
        if status < 0:
            raise ConnectionError("closed without an exit status")
        return status

    def close(self) -> None:
        self._channel.close()

    def sever(self) -> None:
        self._connection.close()
