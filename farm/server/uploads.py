"""Uploads: streamed to disk, counted and hashed on the way, gone at the end of the request."""

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from fastapi import Request

from farm.archive import ZIP_MARK
from farm.job_files import RECEIVING, check_free
from farm.server.answers import Refused
from farm.tokens import Token
from harness.errors import UsageError

_LOOK_BYTES = 64 << 20
_PATIENCE_S = 60.0
_LEAST_BYTES_S = 16 << 10
MOST_AT_ONCE = 8
"""Uploads of one token."""


@dataclass(frozen=True)
class Upload:
    """A request's body as a file."""

    file: Path
    sha256: str


@asynccontextmanager
async def received(
    request: Request, store: Path, most_bytes: int, count: Callable[[int], None]
) -> AsyncIterator[Upload]:
    """The body of a request in a file on the store's disk, removed at the end of the context.

    Args:
        request, store: whose, and where to.
        most_bytes: larger ones are refused.
        count: told how many bytes came, even if the rest never did.

    Raises:
        Refused: it is too large, or the disk has no space for it.
    """
    declared = request.headers.get("content-length", "")
    expected = int(declared[:20]) if declared.isascii() and declared.isdigit() else most_bytes
    if declared and expected > most_bytes:
        raise _too_large(most_bytes)
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_free(store, min(expected, most_bytes))
    digest, size, looked = hashlib.sha256(), 0, 0
    with tempfile.NamedTemporaryFile(prefix=RECEIVING, dir=store) as out:
        try:
            async for chunk in _in_time(request):
                if size < len(ZIP_MARK) and not _begins_as(chunk, ZIP_MARK[size:]):
                    raise UsageError("archive: not a readable zip file: it does not begin as one")
                size += len(chunk)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                if size - looked > _LOOK_BYTES:  # others send, too
                    looked = size
                    check_free(store)
                digest.update(chunk)
                await run_sync(out.write, chunk)
        finally:
            with anyio.CancelScope(shield=True):  # the sender may be gone
                await run_sync(count, size)
        await run_sync(out.flush)
        yield Upload(Path(out.name), digest.hexdigest())


async def _in_time(request: Request) -> AsyncIterator[bytes]:
    """The chunks of a body that comes at some speed, for a dribbling one holds a connection."""
    began, size = time.monotonic(), 0
    chunks = aiter(request.stream())
    while True:
        left = began + _PATIENCE_S + size / _LEAST_BYTES_S - time.monotonic()
        chunk = None
        with anyio.move_on_after(left):
            chunk = await anext(chunks, b"")
        if chunk is None:
            raise Refused(408, f"the archive comes too slowly; least: {_LEAST_BYTES_S} bytes/s")
        if not chunk:
            return
        size += len(chunk)
        yield chunk


def _begins_as(chunk: bytes, mark: bytes) -> bool:
    """Whether a chunk goes on with a mark, of which it may have a part only."""
    return chunk[: len(mark)] == mark[: len(chunk)]


class UnderWay:
    """How many uploads of each token are under way."""

    def __init__(self) -> None:
        self._now: Counter[str] = Counter()

    @asynccontextmanager
    async def few_at_once(self, token: Token) -> AsyncIterator[None]:
        """One upload of a token; Refused when it has as many under way as it may."""
        if self._now[token.name] >= MOST_AT_ONCE:
            raise Refused(429, f"token {token.name!r} sends {MOST_AT_ONCE} archives already")
        self._now[token.name] += 1
        try:
            yield
        finally:
            self._now[token.name] -= 1


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, f"the archive is too large; allowed: {most_bytes} bytes")
