"""Packets of the adb protocol: six words, little endian, then data (AOSP: adb/protocol.txt)."""

import asyncio
import struct
from dataclasses import dataclass

VERSION = 0x01000001
"""From this version on checksums are neither made nor looked at."""
MAX_DATA = 256 << 10
_HOST_MAX_DATA = 1 << 20
_HEADER = struct.Struct("<4sIIIII")


class ProtocolError(Exception):
    """The other end does not speak adb."""


@dataclass(frozen=True)
class Packet:
    """One message; what its two arguments mean depends on the command."""

    command: bytes
    arg0: int
    arg1: int
    data: bytes = b""

    def encode(self) -> bytes:
        """The packet as it goes over the wire."""
        magic = int.from_bytes(self.command, "little") ^ 0xFFFFFFFF
        header = _HEADER.pack(self.command, self.arg0, self.arg1, len(self.data), 0, magic)
        return header + self.data


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    """The next packet.

    Raises:
        ProtocolError: it is none.
        IncompleteReadError: the connection ended.
    """
    header = await reader.readexactly(_HEADER.size)
    command, arg0, arg1, size, _, magic = _HEADER.unpack(header)
    if magic != int.from_bytes(command, "little") ^ 0xFFFFFFFF or size > _HOST_MAX_DATA:
        raise ProtocolError(f"no adb packet: {header.hex()}")
    return Packet(command, arg0, arg1, await reader.readexactly(size))
