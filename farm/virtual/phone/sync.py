"""The file service of a virtual phone: ``sync.py ROOT UID``, requests on stdin, answers on stdout.

A program of its own, without imports of ours: it confines itself to the phone's root file system
and its user before it reads a byte, so links and ``..`` lead nowhere else. The requests are those
of adb 29 (AOSP: adb/SYNC.TXT; the second versions of stat: file_sync_protocol.h).
"""

import contextlib
import os
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MAX_PATH = 1024
_MAX_DATA = 64 << 10
_STAT = struct.Struct("<4sIII")
_STAT2 = struct.Struct("<4sIQQIIIIQqqq")
_ENTRY = struct.Struct("<4sIIII")


class _Ended(Exception):
    """The host has gone."""


class _Sync:
    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._in, self._out = incoming, outgoing
        self._time = 0

    def serve(self) -> None:
        """Answer requests until the host quits or goes."""
        answers = {
            b"STAT": self._stat,
            b"STA2": self._stat2,
            b"LST2": self._stat2,
            b"LIST": self._list,
            b"RECV": self._receive,
            b"SEND": self._send,
        }
        while True:
            kind, size = struct.unpack("<4sI", self._read(8))
            if kind == b"QUIT":
                return
            if kind not in answers or size > _MAX_PATH:
                self._fail(f"no request {kind!r} with a name of {size} bytes")
                return
            name = self._read(size)
            try:
                answers[kind](kind, name)
            except OSError as error:
                self._fail(error.strerror or "error")
            except ValueError as error:
                self._fail(str(error))
            self._out.flush()

    def _read(self, size: int) -> bytes:
        data = self._in.read(size)
        if len(data) < size:
            raise _Ended
        return data

    def _fail(self, reason: str) -> None:
        data = reason.encode(errors="replace")
        self._out.write(struct.pack("<4sI", b"FAIL", len(data)) + data)
        self._out.flush()

    def _stat(self, _kind: bytes, name: bytes) -> None:
        try:
            found = _path(name).lstat()
        except OSError:
            self._out.write(_STAT.pack(b"STAT", 0, 0, 0))
            return
        self._out.write(_STAT.pack(b"STAT", found.st_mode, *_size_and_time(found)))

    def _stat2(self, kind: bytes, name: bytes) -> None:
        try:
            found = _path(name).stat(follow_symlinks=kind == b"STA2")
        except OSError as error:
            self._out.write(_STAT2.pack(kind, error.errno or 0, *(0,) * 10))
            return
        fields = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid)
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        self._out.write(_STAT2.pack(kind, 0, *fields, found.st_gid, found.st_size, *times))

    def _list(self, _kind: bytes, name: bytes) -> None:
        with contextlib.suppress(OSError):  # as adbd has it: no such folder is an empty one
            for entry in _path(name).iterdir():
                found = entry.lstat()
                raw = os.fsencode(entry.name)
                fields = (found.st_mode, *_size_and_time(found), len(raw))
                self._out.write(_ENTRY.pack(b"DENT", *fields) + raw)
        self._out.write(_ENTRY.pack(b"DONE", 0, 0, 0, 0))

    def _receive(self, _kind: bytes, name: bytes) -> None:
        with open(_path(name), "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("not a regular file")
            while data := file.read(_MAX_DATA):
                self._out.write(struct.pack("<4sI", b"DATA", len(data)) + data)
        self._out.write(struct.pack("<4sI", b"DONE", 0))

    def _send(self, _kind: bytes, request: bytes) -> None:
        """Write what comes; nothing half done stays, and what is refused is read all the same."""
        name, _, mode = request.rpartition(b",")
        pieces = self._pieces()
        try:
            self._store(_path(name), int(mode), pieces)
        except (OSError, ValueError):
            for _ in pieces:
                pass
            raise
        self._out.write(struct.pack("<4sI", b"OKAY", 0))

    def _store(self, path: Path, mode: int, pieces: Iterator[bytes]) -> None:
        if stat.S_ISLNK(mode):
            target = os.fsdecode(b"".join(pieces).rstrip(b"\0"))
            path.unlink(missing_ok=True)
            path.symlink_to(target)
            return
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ValueError("only regular files and links are taken")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            with path.open("xb") as file:
                for data in pieces:
                    file.write(data)
            path.chmod(mode & 0o777)
            os.utime(path, (self._time, self._time))
        except (OSError, _Ended):
            path.unlink(missing_ok=True)
            raise

    def _pieces(self) -> Iterator[bytes]:
        while True:
            kind, size = struct.unpack("<4sI", self._read(8))
            if kind == b"DONE":
                self._time = size
                return
            if kind != b"DATA" or size > _MAX_DATA:
                raise _Ended
            yield self._read(size)


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name))


def _size_and_time(found: os.stat_result) -> tuple[int, int]:
    """In the 32 bits of the first versions."""
    return found.st_size & 0xFFFFFFFF, int(found.st_mtime) & 0xFFFFFFFF


def _without_waiting(path: str, flags: int) -> int:
    """Open, a fifo without a writer too."""
    return os.open(path, flags | os.O_NONBLOCK)


def _confine(root: str, uid: int) -> None:
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    _confine(sys.argv[1], int(sys.argv[2]))
    with contextlib.suppress(_Ended, BrokenPipeError):
        _Sync(sys.stdin.buffer, sys.stdout.buffer).serve()
    os._exit(0)  # what is left in a buffer has no reader any more
