"""One stream of a connection: a service's process, its input and output carried in packets."""

import asyncio
import struct
from contextlib import suppress
from typing import IO, Protocol, cast

from farm.virtual.phone.packets import MAX_DATA, Packet, ProtocolError
from farm.virtual.phone.pipes import end_of, read_some, write_all
from farm.virtual.phone.service import Service, start_service

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PIECE = struct.Struct("<BI")
_MOST_UNREAD = 4  # a host sends no more before the last was acknowledged: one is enough


class Link(Protocol):
    """What carries the packets of a stream."""

    async def send(self, packet: Packet) -> None:
        """Send one packet."""

    def spoil(self, data: bytes) -> bytes:
        """What arrives of a command's input or output."""


class Stream:
    """A running service.

    Args:
        link: carries its packets.
        local, remote: its numbers on the phone and on the host.
        service: what to start.
        core: that QEMU emulates.
    """

    def __init__(self, link: Link, local: int, remote: int, service: Service, core: str) -> None:
        self._link = link
        self._ids = (local, remote)
        self._framed = service.framed
        self._process = start_service(service, core)
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue(_MOST_UNREAD)
        self._acknowledged = asyncio.Event()
        self._writing = asyncio.Lock()
        self._buffer = b""

    async def run(self) -> None:
        """Carry its streams until it has ended, and tell how; cancelled when it is hung up."""
        feeder = asyncio.create_task(self._feed())
        try:
            await self._link.send(Packet(b"OKAY", *self._ids))
            await asyncio.gather(*(self._pump(pipe, kind) for pipe, kind in self._outputs()))
            status = await end_of(self._process)
            if self._framed:
                await self._write(_PIECE.pack(_EXIT, 1) + bytes([status]))
            await self._link.send(Packet(b"CLSE", *self._ids))
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)
            self._close_pipes()

    async def reap(self) -> None:
        """Wait until its process has ended, which a hung up one does when it wants."""
        await end_of(self._process)

    def feed(self, data: bytes) -> None:
        """Take what the host sends."""
        try:
            self._incoming.put_nowait(data)
        except asyncio.QueueFull:
            raise ProtocolError("the host does not wait for acknowledgements") from None

    def acknowledge(self) -> None:
        """The host has taken the last packet."""
        self._acknowledged.set()

    def _outputs(self) -> list[tuple[IO[bytes], int]]:
        pipes = [(cast(IO[bytes], self._process.stdout), _STDOUT)]
        if self._process.stderr is not None:
            pipes.append((self._process.stderr, _STDERR))
        return pipes

    async def _pump(self, pipe: IO[bytes], kind: int) -> None:
        while data := await read_some(pipe.fileno()):
            spoilt = self._link.spoil(data)
            await self._write(_PIECE.pack(kind, len(data)) + spoilt if self._framed else spoilt)

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            for start in range(0, len(data), MAX_DATA):
                self._acknowledged.clear()
                await self._link.send(Packet(b"WRTE", *self._ids, data[start : start + MAX_DATA]))
                await self._acknowledged.wait()

    async def _feed(self) -> None:
        stdin = cast(IO[bytes], self._process.stdin)
        while True:
            data = await self._incoming.get()
            # OSError: the process has closed its input; it goes on, and so do we.
            with suppress(OSError, ValueError):
                if self._framed:
                    await self._feed_pieces(stdin, data)
                else:
                    await write_all(stdin.fileno(), self._link.spoil(data))
            await self._link.send(Packet(b"OKAY", *self._ids))

    async def _feed_pieces(self, stdin: IO[bytes], data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _PIECE.size:
            kind, size = _PIECE.unpack_from(self._buffer)
            if len(self._buffer) < _PIECE.size + size:
                break
            piece = self._buffer[_PIECE.size : _PIECE.size + size]
            self._buffer = self._buffer[_PIECE.size + size :]
            if kind == _STDIN:
                await write_all(stdin.fileno(), self._link.spoil(piece))
            elif kind == _CLOSE_STDIN:
                stdin.close()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
