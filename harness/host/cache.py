"""Cache by content: a folder for each key, whole or absent, and safe among processes.

A key is a digest of everything that the result depends on, so an entry never goes stale; it can be
deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

if TYPE_CHECKING:
    import numpy.typing as npt

CACHE_VARIABLE = "EDGEFARM_CACHE"
_SCRATCH = ".filling-"
_ABANDONED_AFTER_S = 24 * 3600


def cache_folder() -> Path:
    """The user's cache folder of edgefarm, or what ``EDGEFARM_CACHE`` names."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edgefarm"))


def content_key(parts: Mapping[str, object]) -> str:
    """Hex sha256 of named values (JSON, keys sorted)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def arrays_key(arrays: "Sequence[npt.NDArray[Any]]") -> str:
    """Hex sha256 of arrays: dtypes, shapes and values."""
    import numpy as np  # commands that only list things start without

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def sources_key(folder: Path) -> str:
    """Hex sha256 of the Python sources in and below a folder: what was made by other ones is made
    anew."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Cache:
    """Folders by content under one root.

    Attributes:
        root: made when first needed.
    """

    root: Path

    def entry(self, kind: str, key: str) -> Path:
        """Where the entry is, if it exists."""
        return self.root / kind / key[:32]

    @contextmanager
    def fill(self, kind: str, key: str) -> Iterator[Path]:
        """Give an empty folder to write the entry into; it appears whole when the block ends.

        Nothing appears when the block raises. When another process filled the same key meanwhile,
        its entry stays: the content is the same.
        """
        target = self.entry(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(target.parent)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=target.parent))
        try:
            yield scratch
            scratch.chmod(0o755)
            try:
                scratch.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left half filled."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError):  # its owner may finish just now
            if time.time() - scratch.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(scratch, ignore_errors=True)


def default_cache() -> Cache:
    """The cache in the user's cache folder."""
    return Cache(cache_folder())
