"""An SSH server on loopback that lets one user in with one key, and runs what it is asked to."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko


@dataclass(frozen=True)
class Board:
    """Where it answers, its fingerprint, and the key file that it takes from `edge`."""

    place: str
    host_key: str
    key_file: Path


class _OneUser(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002  paramiko's signature
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "edge" and key.asbytes() == self._key.asbytes()
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  paramiko's
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        # Not before the request itself is answered, which happens when this returns.
        threading.Timer(0.1, _answer, (channel, command)).start()
        return True


def _answer(channel: paramiko.Channel, command: bytes) -> None:
    reading, held = os.pipe()  # the end of its input would tell a command that we are gone
    with suppress(OSError, EOFError), os.fdopen(reading), os.fdopen(held, "w"):
        said = subprocess.run(
            ["sh", "-c", command], stdin=reading, capture_output=True, check=False
        )
        channel.sendall(said.stdout)
        channel.sendall_stderr(said.stderr)
        channel.send_exit_status(said.returncode)
        channel.close()


@contextmanager
def ssh_server(folder: Path) -> Iterator[Board]:
    """Serve until the end of the context."""
    own, theirs = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    theirs.write_private_key_file(str(folder / "key"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener was closed
                while True:
                    server = paramiko.Transport(listener.accept()[0])
                    server.add_server_key(own)
                    with suppress(OSError, EOFError, paramiko.SSHException):
                        server.start_server(server=_OneUser(theirs))

        threading.Thread(target=serve, daemon=True).start()
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        yield Board(place, own.fingerprint, folder / "key")
        listener.shutdown(socket.SHUT_RDWR)
