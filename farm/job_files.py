"""Files of jobs in the database, by content: what one machine was given, every lab host has.

A job names such a file ``stored:SHA256/NAME``. Lab hosts fetch it into their store, where it lies
as ``SHA256/NAME``. The database of one machine (SQLite) keeps none: there a path will do.
"""

import contextlib
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from farm.database import Database, now
from farm.job import STORED, JobRequest
from farm.tables import FILES
from farm.work import Stop, Work
from harness.artifact import load_artifact, sha256_file
from harness.device import Connect, Device
from harness.errors import HarnessError, ModelError, UsageError
from harness.host.cache import Cache
from harness.host.home import home
from harness.host.progress import Progress
from harness.records import Run

RECEIVING, UNPACKING, _FETCHING = ".upload-", ".unpacking-", ".fetching-"
"""What is not whole yet in a store begins with one of these."""

_ABANDONED_AFTER_S = 24 * 3600
_KEPT_FREE_BYTES = 1 << 30
_CHUNK_BYTES = 4 << 20
_REFERENCE = re.compile(STORED + r"([0-9a-f]{64})/([A-Za-z0-9_][A-Za-z0-9_.-]{0,99})")


def default_store() -> Path:
    """Where this machine keeps files of jobs."""
    return home() / "uploads"


def share(database: Database, request: JobRequest) -> JobRequest:
    """Put a request's files into a database that several machines use; it then names them there.

    Zoo models need no file. Folders and ``file.py:function`` stay references by path: every lab
    host must have them at the same place.

    Raises:
        UsageError: a file changes while it is read.
    """
    if database.is_sqlite:
        return request
    named = {key: Path(getattr(request, key)) for key in ("model", "data")}
    stored = {key: _reference(database, path) for key, path in named.items() if path.is_file()}
    return request.model_copy(update=stored)


def keep(database: Database, file: Path) -> str:
    """Put a file into the database, unless it is there; its sha256."""
    sha256 = sha256_file(file)
    known = FILES.update().where(FILES.c.sha256 == sha256).values(at=now())
    with database.begin() as connection:
        if connection.execute(known).rowcount:
            return sha256
    try:
        with file.open("rb") as stream, database.begin() as connection:
            _insert(connection, sha256, stream, file)
    except IntegrityError:
        pass  # another process put it there meanwhile
    return sha256


def fetch(database: Database, store: Path, sha256: str, name: str) -> Path | None:
    """A stored file as one of this machine's; None when the database has it no more, or not whole.

    Raises:
        HarnessError: the store cannot be written.
    """
    target = store / sha256 / name
    if target.is_file():
        return target
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=_FETCHING, dir=store))
        try:
            with (scratch / name).open("wb") as out:
                digest = _copy(database, sha256, out)
            if digest != sha256:
                return None
            target.parent.mkdir(exist_ok=True)
            (scratch / name).replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise HarnessError(f"store {store}: cannot be written: {error.strerror}") from error
    return target


def check_free(store: Path, needed: int = 0) -> None:
    """Refuse what would fill the disk, for the farm's database may be on it.

    Raises:
        HarnessError: too little is free.
    """
    if shutil.disk_usage(store).free < needed + _KEPT_FREE_BYTES:
        raise HarnessError("the server's disk is full; tell its operator")


def clear_abandoned(store: Path) -> None:
    """Remove what a killed process left half received, half unpacked or half fetched."""
    for path in store.glob(".*") if store.is_dir() else ():
        with contextlib.suppress(OSError):  # another process may remove it just now
            old = time.time() - path.lstat().st_mtime > _ABANDONED_AFTER_S
            if path.name.startswith((RECEIVING, UNPACKING, _FETCHING)) and old:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def find_artifact(cache: Cache, sha256: str) -> Path | None:
    """The artifact of that digest in a cache."""
    for manifest in (cache.root / "artifacts").glob("*/*.json"):
        file = manifest.with_name(manifest.name.removesuffix(".json"))
        try:
            if sha256 in manifest.read_text() and load_artifact(file).manifest.sha256 == sha256:
                return file
        except (OSError, ModelError):
            continue  # being removed, or not whole
    return None


@dataclass(frozen=True)
class Fetching:
    """Work that fetches a job's files first, and shares the artifact that ran.

    Attributes:
        work: what is done with them.
        database: the farm's.
        store: of this machine.
        cache: where artifacts are made.
    """

    work: Work
    database: Database
    store: Path
    cache: Cache

    def prepare(self, request: JobRequest, device: Device) -> None:
        """See `Work.prepare`."""
        self.work.prepare(self._here(request), device)

    def run(
        self, request: JobRequest, device: Device, connect: Connect, report: Progress, stop: Stop
    ) -> Run:
        """See `Work.run`."""
        run = self.work.run(self._here(request), device, connect, report, stop)
        if run.manifest is not None and not self.database.is_sqlite:
            artifact = find_artifact(self.cache, run.manifest.sha256)
            if artifact is not None:
                keep(self.database, artifact)
        return run

    def _here(self, request: JobRequest) -> JobRequest:
        named = {key: getattr(request, key) for key in ("model", "data")}
        found = {key: _REFERENCE.fullmatch(text) for key, text in named.items()}
        here = {}
        for key, reference in found.items():
            if reference is None:
                continue
            file = fetch(self.database, self.store, reference[1], reference[2])
            if file is None:
                raise ModelError(
                    f"{named[key]}: not in the farm's database any more; submit the job again"
                )
            here[key] = str(file)
        return request.model_copy(update=here)


def _reference(database: Database, file: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", file.name)[-100:].lstrip(".-") or "file"
    return f"{STORED}{keep(database, file)}/{name}"


def _insert(connection: sa.Connection, sha256: str, stream: BinaryIO, file: Path) -> None:
    digest = hashlib.sha256()
    for number, chunk in enumerate(_chunks(stream)):
        digest.update(chunk)
        row = {"sha256": sha256, "number": number, "data": chunk, "at": now()}
        connection.execute(FILES.insert().values(**row))
    if digest.hexdigest() != sha256:
        raise UsageError(f"{file}: it changed while it was read; submit the job again")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """At least one, so that an empty file is there, too."""
    yield stream.read(_CHUNK_BYTES)
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _copy(database: Database, sha256: str, out: BinaryIO) -> str:
    """Write what the database has of a file; the digest of that."""
    digest = hashlib.sha256()
    for number in count():
        query = sa.select(FILES.c.data).where(FILES.c.sha256 == sha256, FILES.c.number == number)
        with database.begin() as connection:
            chunk = connection.execute(query).scalar_one_or_none()
        if chunk is None:
            return digest.hexdigest()
        digest.update(chunk)
        out.write(chunk)
    raise AssertionError("count() has no end")
