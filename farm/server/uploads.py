"""Uploads: streamed to disk, counted and hashed on the way, gone at the end of the request."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import Request

from farm.server.answers import Refused

_PREFIXES = (".upload-", ".unpacking-")
_ABANDONED_AFTER_S = 24 * 3600
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
    with tempfile.NamedTemporaryFile(prefix=_PREFIXES[0], dir=store) as out:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                raise _too_large(most_bytes)
            digest.update(chunk)
            await run_sync(out.write, chunk)
        await run_sync(out.flush)
        yield Upload(Path(out.name), digest.hexdigest())


def clear_abandoned(store: Path) -> None:
    """Remove what a killed server left half received or half unpacked."""
    for path in store.glob(".*") if store.is_dir() else ():
        old = time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S
        if path.name.startswith(_PREFIXES) and old:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, f"the archive is too large; allowed: {most_bytes} bytes")
