"""A phone's side of adb: speaks to the real adb server, runs shell commands on this host.

As much of the protocol as shell v2 needs: CNXN, AUTH, OPEN, OKAY, WRTE, CLSE.
"""

import os
import queue
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from typing import IO, Literal

Mode = Literal["device", "recovery", "sideload", "bootloader", "unauthorized", "offline"]

_HEADER = struct.Struct("<4sIIIII")
_VERSION = 0x01000001  # no checksums
_MAX_DATA = 256 << 10
_PACKET = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


def in_thread(work: object, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


class _Stream:
    """One shell command."""

    def __init__(self, session: "_Session", remote: int, local: int, command: str) -> None:
        self._session, self._remote, self._local = session, remote, local
        self.incoming: queue.Queue[bytes | None] = queue.Queue()
        self.acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        session.send(b"OKAY", local, remote)
        self.threads = [in_thread(self._run), in_thread(self._feed)]

    def hang_up(self) -> None:
        """The connection is gone: all that adbd then does is close the command's pipes."""
        self.incoming.put(None)
        self.acknowledged.release(1000)

    def _run(self) -> None:
        with self._process as process, suppress(OSError):
            pumps = [
                in_thread(self._pump, process.stdout, _STDOUT),
                in_thread(self._pump, process.stderr, _STDERR),
            ]
            for pump in pumps:
                pump.join()
            status = process.wait()
            self._write(_EXIT, bytes([status if status >= 0 else 128 - status]))
            self._session.send(b"CLSE", self._local, self._remote)
            self.incoming.put(None)

    def _pump(self, source: IO[bytes], kind: int) -> None:
        with suppress(OSError):
            while data := os.read(source.fileno(), _MAX_DATA - _PACKET.size):
                self._write(kind, data)

    def _write(self, kind: int, data: bytes) -> None:
        with self._writing:
            packet = _PACKET.pack(kind, len(data)) + data
            self._session.send(b"WRTE", self._local, self._remote, packet)
            self.acknowledged.acquire()

    def _feed(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        buffer = b""
        with suppress(OSError, ValueError), stdin:
            while data := self.incoming.get():
                buffer += data
                while len(buffer) >= _PACKET.size:
                    kind, size = _PACKET.unpack_from(buffer)
                    if len(buffer) < _PACKET.size + size:
                        break
                    piece, buffer = buffer[_PACKET.size :][:size], buffer[_PACKET.size + size :]
                    if kind == _STDIN:
                        stdin.write(piece)
                        stdin.flush()
                    elif kind == _CLOSE_STDIN:
                        stdin.close()
                self._session.send(b"OKAY", self._local, self._remote)


class _Session:
    """One connection from an adb server."""

    def __init__(self, mode: Mode, connection: socket.socket) -> None:
        self._mode = mode
        self.connection = connection
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self.thread = in_thread(self._serve)

    def send(self, command: bytes, one: int, two: int, data: bytes = b"") -> None:
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        header = _HEADER.pack(command, one, two, len(data), 0, magic)
        with self._sending:
            self.connection.sendall(header + data)

    def drop(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self.connection, suppress(OSError, EOFError):
            while True:
                command, one, two, size, _, _ = _HEADER.unpack(self._read(_HEADER.size))
                self._handle(command, one, two, self._read(size))
        for stream in self._streams.values():
            stream.hang_up()
        for stream in self._streams.values():
            for thread in stream.threads:
                thread.join()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _handle(self, command: bytes, one: int, two: int, data: bytes) -> None:
        if self._mode == "offline":
            return
        if self._mode == "unauthorized":
            self.send(b"AUTH", 1, 0, os.urandom(20))
        elif command == b"CNXN":
            self.send(b"CNXN", _VERSION, _MAX_DATA, f"{self._mode}::features=shell_v2,cmd".encode())
        elif command == b"OPEN":
            name = data.rstrip(b"\0").decode()
            local = len(self._streams) + 1
            if name.startswith("shell,v2,raw:"):
                self._streams[local] = _Stream(self, one, local, name.partition(":")[2])
            else:
                self.send(b"CLSE", 0, one)
        elif two in self._streams and command == b"WRTE":
            self._streams[two].incoming.put(data)
        elif two in self._streams and command == b"OKAY":
            self._streams[two].acknowledged.release()
        elif two in self._streams and command == b"CLSE":
            self._streams[two].hang_up()


class Phone:
    """A phone at 127.0.0.1:port; `mode` counts for new connections."""

    def __init__(self, mode: Mode = "device") -> None:
        self.mode: Mode = mode
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sessions: list[_Session] = []
        self._thread = in_thread(self._accept)

    @property
    def serial(self) -> str:
        """By which adb knows it, once connected."""
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Break all connections."""
        for session in self._sessions:
            session.drop()

    def close(self) -> None:
        """Switch it off."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.drop()
        for session in self._sessions:
            session.thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._sessions.append(_Session(self.mode, connection))
