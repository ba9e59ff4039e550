"""One connection of an adb server to the phone: who it is, then its streams."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from farm.virtual.phone.faults import Trouble
from farm.virtual.phone.keys import TOKEN_BYTES, AcceptedKeys
from farm.virtual.phone.packets import MAX_DATA, VERSION, Packet, ProtocolError, read_packet
from farm.virtual.phone.service import find_service
from farm.virtual.phone.stream import Stream

_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3
_MOST_STREAMS = 256


@dataclass(frozen=True)
class Identity:
    """What a session knows of its phone.

    Attributes:
        root: the phone's root file system on this host.
        core: that QEMU emulates.
        banner: how the phone presents itself, after its state.
        keys: whom it lets in.
        trouble: what is wrong with it.
        reboot: called when a host asks for that.
    """

    root: Path
    core: str
    banner: str
    keys: AcceptedKeys
    trouble: Trouble
    reboot: Callable[[], None]


class Session:
    """A connection, from its first packet to its end."""

    def __init__(
        self, phone: Identity, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._phone = phone
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._reapers: set[asyncio.Task[None]] = set()
        self._next_number = 1

    async def run(self) -> None:
        """Serve the connection until it ends, then hang up what runs in it."""
        try:
            await self._shake_hands()
            while True:
                await self._handle(await self._receive())
        except (OSError, asyncio.IncompleteReadError, ProtocolError):
            pass
        finally:
            self.drop()
            await self._hang_up()
            await asyncio.gather(*self._reapers)

    def drop(self) -> None:
        """Break the connection."""
        self._writer.transport.abort()

    async def send(self, packet: Packet) -> None:
        """See `farm.virtual.phone.stream.Link`."""
        data = packet.encode()
        async with self._sending:
            await self._phone.trouble.carry(len(data))
            self._writer.write(data)
            await self._writer.drain()

    def spoil(self, data: bytes) -> bytes:
        """See `farm.virtual.phone.stream.Link`."""
        return self._phone.trouble.spoil(data)

    async def _receive(self) -> Packet:
        packet = await read_packet(self._reader)
        await self._phone.trouble.carry(len(packet.data))
        return packet

    async def _shake_hands(self) -> None:
        """Answer the host's CNXN once one of its keys is accepted; an offline phone never does."""
        if (await self._receive()).command != b"CNXN":
            raise ProtocolError("no CNXN first")
        while self._phone.trouble.kind == "offline":
            await self._receive()
        token = os.urandom(TOKEN_BYTES)
        await self.send(Packet(b"AUTH", _TOKEN, 0, token))
        while True:
            packet = await self._receive()
            if packet.command != b"AUTH":
                raise ProtocolError("no AUTH in answer to a token")
            if packet.arg0 == _PUBLIC_KEY:
                await self._wait_for_acceptance(packet.data)
                break
            if packet.arg0 == _SIGNATURE and self._phone.keys.allows(token, packet.data):
                break
            token = os.urandom(TOKEN_BYTES)
            await self.send(Packet(b"AUTH", _TOKEN, 0, token))
        kind = self._phone.trouble.kind
        state = kind if kind in {"recovery", "sideload", "bootloader"} else "device"
        banner = f"{state}::{self._phone.banner}".encode()
        await self.send(Packet(b"CNXN", VERSION, MAX_DATA, banner))

    async def _wait_for_acceptance(self, key: bytes) -> None:
        """Show the host's key until it is accepted, or the host goes."""
        accepted = asyncio.create_task(self._phone.keys.accepted(key))
        gone = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({accepted, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                gone.result()
                raise ProtocolError("a packet before the key was accepted")
            await accepted
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        finally:
            for task in (accepted, gone):
                task.cancel()
            await asyncio.gather(accepted, gone, return_exceptions=True)

    async def _handle(self, packet: Packet) -> None:
        if packet.command == b"OPEN":
            await self._open(packet.arg0, packet.data)
        elif packet.arg1 in self._streams:
            stream, task = self._streams[packet.arg1]
            if packet.command == b"WRTE":
                stream.feed(packet.data)
            elif packet.command == b"OKAY":
                stream.acknowledge()
            elif packet.command == b"CLSE":
                task.cancel()

    async def _open(self, remote: int, data: bytes) -> None:
        name = data.rstrip(b"\0").decode(errors="surrogateescape")
        if name.partition(":")[0] == "reboot":
            self._phone.reboot()
            return
        service = find_service(name, self._phone.root)
        if service is None or len(self._streams) >= _MOST_STREAMS:
            await self.send(Packet(b"CLSE", 0, remote))
            return
        local, self._next_number = self._next_number, self._next_number + 1
        stream = Stream(self, local, remote, service, self._phone.core)
        self._streams[local] = (stream, asyncio.create_task(self._run(local, stream)))

    async def _run(self, local: int, stream: Stream) -> None:
        """Run a stream to its end, however that comes; its process may live on for a while."""
        try:
            with suppress(OSError):  # the connection is gone: the session sees it, too
                await stream.run()
        finally:
            del self._streams[local]
            reaper = asyncio.create_task(stream.reap())
            self._reapers.add(reaper)
            reaper.add_done_callback(self._reapers.discard)

    async def _hang_up(self) -> None:
        tasks = [task for _, task in self._streams.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
