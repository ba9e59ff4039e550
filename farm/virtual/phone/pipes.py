"""Reads and writes the pipes of child processes in an event loop.

asyncio's own subprocesses kill the child when its pipes are closed; on a phone a child that has
lost its connection lives on, and finds its pipes closed.
"""

import asyncio
import os
import subprocess

_PIECE_BYTES = 64 << 10


async def read_some(fd: int) -> bytes:
    """What there is to read, at least a byte; nothing at the end."""
    await _readable(fd)
    return os.read(fd, _PIECE_BYTES)


async def write_all(fd: int, data: bytes) -> None:
    """Write all; OSError when nobody reads any more."""
    os.set_blocking(fd, False)
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            await _writable(fd)


async def end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child; its status, that of a signal n as 128 + n."""
    if process.returncode is None:
        fd = os.pidfd_open(process.pid)
        try:
            await _readable(fd)
        finally:
            os.close(fd)
    status = process.wait()
    return status if status >= 0 else 128 - status


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
