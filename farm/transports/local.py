"""Local transport: this host as a device, by the same shell as any other device."""

import os
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

from farm.transports.channel import Channel, Stream
from farm.transports.shell import ShellTransport
from harness.device import Device, Transport

_PIECE_BYTES = 64 << 10


@contextmanager
def connect(device: Device) -> Iterator[Transport]:
    """Open this host as `device`."""
    transport = ShellTransport(device, open_channel, lambda: None)
    try:
        yield transport
    finally:
        transport.close()


def open_channel(command: str, _timeout_s: float) -> Channel:
    """Start a shell command on this host."""
    return _ProcessChannel(command)


class _ProcessChannel:
    """A shell command as a child process.

    Its standard input is a socket: unlike a pipe's end, it can be shut down while another thread is
    blocked in writing to it.
    """

    def __init__(self, command: str) -> None:
        self._input_use = threading.Lock()
        self._input, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._pipes = (cast(IO[bytes], self._process.stdout), cast(IO[bytes], self._process.stderr))
        self._selector = selectors.DefaultSelector()
        for pipe, stream in zip(self._pipes, Stream, strict=True):
            self._selector.register(pipe, selectors.EVENT_READ, stream)

    def receive(self, timeout_s: float) -> tuple[Stream, bytes] | None:
        deadline = time.monotonic() + timeout_s
        while self._selector.get_map():
            ready = self._selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            key = ready[0][0]
            data = os.read(key.fd, _PIECE_BYTES)
            if data:
                return cast(Stream, key.data), data
            self._selector.unregister(key.fileobj)
        return None

    def send(self, data: bytes) -> None:
        with self._input_use:
            self._input.sendall(data)

    def end_input(self) -> None:
        self._input.shutdown(socket.SHUT_RDWR)

    def exit_status(self, timeout_s: float) -> int:
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError("the shell goes on after the end of its output") from None
        return status if status >= 0 else 128 - status

    def close(self) -> None:
        with suppress(OSError):
            self._input.shutdown(socket.SHUT_RDWR)
        with self._input_use:  # a blocked send has ended by now
            self._input.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()

    def sever(self) -> None:
        self.close()
