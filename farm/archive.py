"""Submission archives: a job as one zip file of three members, as it travels to the server.

``request.json`` (the job; `model` and `data` name the other two), one ``.tflite`` or ``.pt2``, one
``.npz``. Archives come from anywhere: nothing in one is believed before it is checked.
"""

import hashlib
import io
import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from farm.export import export
from farm.job import JobRequest, job_request
from farm.job_files import UNPACKING, check_free
from harness.errors import HarnessError, UsageError
from harness.host.cache import Cache
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.sources.npz import open_npz
from targets import get_target

REQUEST = "request.json"
ZIP_MARK = b"PK\x03\x04"
_MARKS = {".tflite": (4, b"TFL3"), ".pt2": (0, ZIP_MARK), ".npz": (0, ZIP_MARK)}
"""What a file of each kind has at its beginning, and where."""
_MOST_REQUEST_BYTES = 256 << 10
_CHUNK_BYTES = 1 << 20
_MOST_READ_BYTES = 4 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may be.

    Attributes:
        unpacked_bytes: of all members together.
        pt2: whether a ``.pt2`` is taken: torch runs code in it when it opens one.
        ratio: how much larger than the archive all that is packed in it may be, arrays too, which
            are packed once more in their ``.npz``.
        small_bytes: of what unpacks to no more than this the ratio does not matter.
    """

    unpacked_bytes: int = 8 << 30
    pt2: bool = False
    ratio: int = 100
    small_bytes: int = 64 << 20

    def check_unpacked(self, size: int, packed: int) -> None:
        """Raise UsageError when an archive of `packed` bytes must not unpack to `size` bytes."""
        if size > self.unpacked_bytes:
            raise UsageError(f"archive: unpacks to more than {self.unpacked_bytes} bytes")
        if size > max(self.small_bytes, self.ratio * packed):
            raise UsageError(
                f"archive: {packed} bytes unpack to {size}, which is more than {self.ratio} times "
                "as much; that is no data of measurements. Send fewer samples"
            )


def pack(
    request: JobRequest, file: Path, *, cache: Cache, progress: Progress = no_progress
) -> None:
    """Export a job's model and data and write its archive.

    Each archive is another submission; the same archive sent twice is the same one.

    Raises:
        UsageError, ModelError: see `farm.export.export`.
    """
    with scratch_folder() as folder:
        target = get_target(request.target)
        model, data = export(
            request.model, request.data, target, folder, cache=cache, progress=progress
        )
        fields = request.model_dump(mode="json", exclude={"submitter"})
        fields |= {"model": model.name, "data": data.name, "named": request.model_name()}
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(REQUEST, json.dumps({"nonce": uuid4().hex, "job": fields}))
            archive.write(model, model.name, zipfile.ZIP_DEFLATED)
            archive.write(data, data.name)  # an .npz is compressed already


def unpack(file: Path, store: Path, limits: ArchiveLimits, submitter: str) -> JobRequest:
    """Check an archive and put its files into the store, by content.

    Args:
        file: the archive.
        store: files lie in ``store/SHA256/NAME``.
        limits: what is allowed.
        submitter: who sent it; the archive cannot say.

    Returns:
        The job, naming the files in the store.

    Raises:
        UsageError: the archive or its request is not what is allowed.
        HarnessError: the store cannot be written.
    """
    try:
        with (
            _SmallReads(file) as stream,
            zipfile.ZipFile(stream) as archive,
            _scratch(store) as scratch,
        ):
            members = _check_members(archive)
            size = sum(member.file_size for member in archive.infolist())
            limits.check_unpacked(size, file.stat().st_size)
            check_free(store, size)
            fields = _read_request(archive)
            model = _member(fields, "model", members, (".tflite", ".pt2"))
            data = _member(fields, "data", members, (".npz",))
            if model.endswith(".pt2") and not limits.pt2:
                raise UsageError(
                    f"archive: {model}: this server takes .tflite only, for torch runs code that "
                    "is in a .pt2; its operator can allow them"
                )
            fields |= {"submitter": submitter}
            if "\\u0000" in job_request(fields).model_dump_json():
                raise UsageError("archive: the job has a NUL character in it")
            digests = _extract(archive, (model, data), scratch, limits)
            size = sum(_check_content(scratch / name, limits) for name in (model, data))
            limits.check_unpacked(size, file.stat().st_size)
            paths = _keep(scratch, (model, data), digests, store)
    except _BROKEN as error:
        raise UsageError(f"archive: not a readable zip file: {error}") from error
    except OSError as error:
        raise HarnessError(f"store {store}: cannot be written: {error.strerror}") from error
    return job_request(fields | {"model": str(paths[0]), "data": str(paths[1])})


class _SmallReads(io.FileIO):
    """A file to be read in pieces: zipfile reads a whole directory at once, as large as it says."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file; what asks for too much is no archive of ours."""
        most = _MOST_READ_BYTES + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) > _MOST_READ_BYTES:
            raise zipfile.BadZipFile("its directory is too large")
        return data


def _check_members(archive: zipfile.ZipFile) -> set[str]:
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(members) != 3 or len(names) != 3 or REQUEST not in names:
        raise UsageError(f"archive: allowed: {REQUEST}, a model and an .npz; got {len(members)}")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not _NAME.fullmatch(member.filename) or kind not in (0, stat.S_IFREG):
            raise UsageError(
                f"archive: member {member.filename[:200]!r}: allowed: plain files, named by "
                "letters, digits and _ . - without folders"
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # zipfile unpacks what it read of other kinds at once, however much comes out.
            raise UsageError(
                f"archive: member {member.filename}: compressed by method {member.compress_type}; "
                "allowed: stored, deflated"
            )
    return names


def _read_request(archive: zipfile.ZipFile) -> dict[str, Any]:
    with archive.open(REQUEST) as stream:
        text = stream.read(_MOST_REQUEST_BYTES + 1)
    if len(text) > _MOST_REQUEST_BYTES:
        raise UsageError(f"archive: {REQUEST} has more than {_MOST_REQUEST_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"archive: {REQUEST}: not JSON: {error}") from error
    job = document.get("job") if isinstance(document, dict) else None
    if not isinstance(job, dict):
        raise UsageError(f"archive: {REQUEST}: expected an object with `nonce` and `job`")
    return job


def _member(fields: Mapping[str, Any], key: str, names: set[str], suffixes: tuple[str, ...]) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or value not in names or not value.endswith(suffixes):
        allowed = " or ".join(suffixes)
        raise UsageError(f"archive: job.{key}: must name the archive's {allowed}, got {value!r}")
    return value


def _extract(
    archive: zipfile.ZipFile,
    names: tuple[str, ...],
    scratch: Path,
    limits: ArchiveLimits,
) -> list[str]:
    """Unpack members into a folder, counting what really comes out; their digests."""
    left = limits.unpacked_bytes
    digests = []
    for name in names:
        digest = hashlib.sha256()
        with archive.open(name) as stream, (scratch / name).open("wb") as out:
            while chunk := stream.read(_CHUNK_BYTES):
                if out.tell() == 0:
                    _check_mark(name, chunk)
                left -= len(chunk)
                if left < 0:
                    raise UsageError(f"archive: unpacks to more than {limits.unpacked_bytes} bytes")
                digest.update(chunk)
                out.write(chunk)
        if (scratch / name).stat().st_size == 0:
            _check_mark(name, b"")
        digests.append(digest.hexdigest())
    return digests


def _keep(scratch: Path, names: tuple[str, ...], digests: list[str], store: Path) -> list[Path]:
    """Move files that were checked into the store, by content."""
    paths = []
    for name, sha256 in zip(names, digests, strict=True):
        folder = store / sha256
        folder.mkdir(parents=True, exist_ok=True)
        (scratch / name).replace(folder / name)
        paths.append(folder / name)
    return paths


def _check_mark(name: str, beginning: bytes) -> None:
    suffix = Path(name).suffix
    at, mark = _MARKS[suffix]
    if not beginning[at:].startswith(mark):
        raise UsageError(
            f"archive: {name}: is no {suffix} file: {mark!r} is not at byte {at}, where every one "
            "has it"
        )


def _check_content(file: Path, limits: ArchiveLimits) -> int:
    """Look into a file that is an archive itself, at what it says and no more.

    Returns:
        Its size, unpacked.

    Raises:
        UsageError: it is too large, or no ``.npz`` of plain arrays.
    """
    if file.suffix == ".tflite":
        return file.stat().st_size
    with _SmallReads(file) as stream, zipfile.ZipFile(stream) as inner:
        size = sum(member.file_size for member in inner.infolist())
    limits.check_unpacked(size, size)
    if file.suffix == ".npz":
        try:
            with open_npz(file, max_bytes=limits.unpacked_bytes):
                pass
        except UsageError as error:  # without the server's own path
            raise UsageError(f"archive: {str(error).replace(str(file), file.name)}") from None
    return size


@contextmanager
def _scratch(store: Path) -> Iterator[Path]:
    """A folder on the store's file system, removed at the end."""
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=UNPACKING, dir=store))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
