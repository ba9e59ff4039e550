"""Reads the stream of a device's ``tar -cf -`` without trusting it.

Only regular files, folders and GNU's long names (type L) are understood; memory is bounded whatever
the stream says. `tarfile.TarFile` is not used: it reads extension headers of any size into memory.
"""

import tarfile
from collections.abc import Iterator

from farm.transports.untrusted import IncomingFolder, Refused

_BLOCK = tarfile.BLOCKSIZE
_MAX_NAME_BYTES = 64 << 10
_MAX_PADDING_BYTES = 1 << 20
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a fifo",
}


class CutOff(Refused):
    """The stream ended before the archive did."""


class _Reader:
    """Reads exact sizes from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield exactly `size` bytes in pieces."""
        while size:
            if not self._buffer:
                self._buffer = next(self._pieces, b"")
                if not self._buffer:
                    raise CutOff("could not be read to its end")
            taken, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(taken)
            yield taken

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        return b"".join(self.chunks(size))

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        yield self._buffer
        yield from self._pieces


def unpack(pieces: Iterator[bytes], into: IncomingFolder) -> None:
    """Write the archive's files into a folder.

    Raises:
        Refused: the archive is malformed, or holds what `into` or this reader does not accept.
    """
    reader = _Reader(pieces)
    long_name: str | None = None
    while (header := _header(reader)) is not None:
        name = header.name if long_name is None else long_name
        if header.type == tarfile.GNUTYPE_LONGNAME:
            if long_name is not None:
                raise Refused("two long names for one file")
            long_name = _long_name(reader, header)
            continue
        if header.type in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            path = into.check_file(name, header.size)
            into.write_file(path, reader.chunks(header.size))
            reader.read(-header.size % _BLOCK)
        elif header.type == tarfile.DIRTYPE and header.size == 0:
            into.note_folder(name)
        else:
            kind = _KINDS.get(header.type, f"of tar type {header.type!r}")
            raise Refused(f"{name!r} is {kind}; only regular files are accepted")
        long_name = None
    _check_end(reader)


def _header(reader: _Reader) -> tarfile.TarInfo | None:
    """The next header; None at the end-of-archive block."""
    block = reader.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Refused(f"the archive is malformed ({error})") from error
    if header.size < 0:
        raise Refused(f"{header.name!r} has a negative size")
    return header


def _long_name(reader: _Reader, header: tarfile.TarInfo) -> str:
    if header.size > _MAX_NAME_BYTES:
        raise Refused(f"a name of {header.size} bytes; allowed: {_MAX_NAME_BYTES}")
    data = reader.read(header.size)
    reader.read(-header.size % _BLOCK)
    return data.removesuffix(b"\0").decode("utf-8", "surrogateescape")


def _check_end(reader: _Reader) -> None:
    """Accept only the zeros that tar pads its last record with."""
    padding = 0
    for piece in reader.rest():
        padding += len(piece)
        if padding > _MAX_PADDING_BYTES or piece.strip(b"\0"):
            raise Refused("data after the end of the archive")
