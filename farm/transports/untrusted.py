"""What is accepted from a device's folder, and how it is written here.

The one place of this policy, for every transport.
"""

import errno
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from harness.device import PullLimits
from harness.errors import HarnessError, UsageError

_MAX_NAME_BYTES = 4096


class Refused(Exception):
    """The device sent something that is not accepted; the message says what and the rule."""


class IncomingFolder:
    """Files of one pull, written under a private folder until all have been accepted."""

    def __init__(self, folder: Path, limits: PullLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._entries = 0
        self._total_bytes = 0
        self._exact: dict[str, str] = {}
        self._files: set[Path] = set()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files written so far, relative to the folder, sorted."""
        return tuple(sorted(self._files))

    def note_folder(self, name: str) -> None:
        """Check a folder's name; it is made when a file in it arrives."""
        if name.rstrip("/") != ".":
            self._count()
            self._accept_name(name.rstrip("/"))

    def check_file(self, name: str, size: int) -> Path:
        """Check a file's name and size before any of it is read; returns its relative path.

        Raises:
            Refused: it breaks the rules.
        """
        self._count()
        limits = self._limits
        if size > limits.max_file_bytes:
            raise Refused(f"{name!r} has {size} bytes; allowed per file: {limits.max_file_bytes}")
        self._total_bytes += size
        if self._total_bytes > limits.max_total_bytes:
            raise Refused(f"more than {limits.max_total_bytes} bytes in all (at {name!r})")
        path = self._accept_name(name)
        if path in self._files:
            raise Refused(f"{name!r} comes twice")
        self._files.add(path)
        return path

    def write_file(self, path: Path, chunks: Iterator[bytes]) -> None:
        """Write a file that `check_file` has accepted."""
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:  # never through a link, never over a file
                for chunk in chunks:
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError) as error:
            raise Refused(f"{str(path)!r} is both a file and a folder") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise Refused(f"name {str(path)[:80]!r}… is too long for this host") from error
            raise HarnessError(f"cannot write {target}: {error.strerror}") from error

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._limits.max_files:
            raise Refused(f"more than {self._limits.max_files} files and folders")

    def _accept_name(self, name: str) -> Path:
        """A relative path that stays inside, is text, and is not another's when case is folded."""
        if name.startswith("/"):
            raise Refused(f"absolute name {name!r}")
        parts = name.removeprefix("./").split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise Refused(f"name {name!r} has an empty part, '.' or '..'")
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            raise Refused(f"name {name!r} is not UTF-8") from None
        if b"\0" in encoded or len(encoded) > _MAX_NAME_BYTES:
            raise Refused(f"name {name[:80]!r}… holds a NUL or more than {_MAX_NAME_BYTES} bytes")
        for depth in range(1, len(parts) + 1):
            exact = "/".join(parts[:depth])
            folded = unicodedata.normalize("NFC", exact).casefold()
            if self._exact.setdefault(folded, exact) != exact:
                raise Refused(
                    f"{exact!r} and {self._exact[folded]!r} are one name when case is folded"
                )
        return Path(*parts)


@contextmanager
def new_folder(local: Path, limits: PullLimits) -> Iterator[IncomingFolder]:
    """Receive into `local`, which appears whole at the end of the context, or not at all.

    Raises:
        UsageError: `local` exists, or its parent does not.
        HarnessError: this host cannot write it.
    """
    if local.exists() or local.is_symlink():
        raise UsageError(f"{local}: exists; pull makes a new folder")
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{local.name}.", dir=local.parent))
    except FileNotFoundError:
        raise UsageError(f"{local.parent}: no such folder to pull into") from None
    except OSError as error:
        raise HarnessError(f"cannot write {local}: {error.strerror}") from error
    try:
        yield IncomingFolder(staging, limits)
        try:
            staging.rename(local)
        except OSError as error:
            raise HarnessError(f"cannot write {local}: {error.strerror}") from error
    finally:
        rmtree(staging, ignore_errors=True)
