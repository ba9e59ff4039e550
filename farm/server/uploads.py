"""Uploads: streamed to disk, counted and hashed on the way, gone at the end of the request."""

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import Request

from farm.server.answers import Refused
from farm.stored import RECEIVING

_KEPT_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Upload:
    """A request's body as a file."""

    file: Path
    sha256: str


@asynccontextmanager
async def received(request: Request, store: Path, most_bytes: int) -> AsyncIterator[Upload]:
    """The body of a request in a file on the store's disk, removed at the end of the context.

    Raises:
        Refused: it is too large, or the disk has no space for it.
    """
    declared = request.headers.get("content-length", "")
    expected = int(declared[:20]) if declared.isascii() and declared.isdigit() else most_bytes
    if declared and expected > most_bytes:
        raise _too_large(most_bytes)
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(store).free < min(expected, most_bytes) + _KEPT_FREE_BYTES:
        raise Refused(503, "the server's disk is full; tell its operator", kind="HarnessError")
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(prefix=RECEIVING, dir=store) as out:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                raise _too_large(most_bytes)
            digest.update(chunk)
            await run_sync(out.write, chunk)
        await run_sync(out.flush)
        yield Upload(Path(out.name), digest.hexdigest())


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, f"the archive is too large; allowed: {most_bytes} bytes")
