"""This host's disk: when it is full, that is the machine's fault, whoever stumbles over it.

A write that fails is mostly met far from where anybody knows what it means: in a converter, in a
library, or in a handler that turns it into an error of its own. So the blame is laid at the ends: a
process of our own, an evaluation, a command.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError, HostFull
from harness.host.cache import cache_folder

_FULL = {errno.ENOSPC, errno.EDQUOT}
_WORDS = re.compile(
    "No space left on device|Disk quota exceeded|database or disk is full", re.IGNORECASE
)
_NOTHING_BYTES = 1 << 20
_REMEDY = "free some space (`edgefarm clean` forgets what can be made again), then try again"


def host_full(error: BaseException) -> HostFull | None:
    """The error to raise in place of one that a full disk of this host is behind; None for others.

    Words count only in exceptions of libraries: in ours they may be a device's.
    """
    for one in _chain(error):
        if isinstance(one, HostFull):
            return one
        if isinstance(one, OSError) and one.errno in _FULL:
            where = f"{one.filename}: " if one.filename else ""
            return HostFull(f"this host's disk is full: {where}{os.strerror(one.errno)}; {_REMEDY}")
        if not isinstance(one, HarnessError) and (full := full_by_words(str(one))):
            return full
    return None


def full_by_words(printed: str) -> HostFull | None:
    """The error for what a program of this host printed about a full disk; None for other words."""
    found = _WORDS.search(printed)
    return HostFull(f"this host's disk is full: {found[0]}; {_REMEDY}") if found else None


def full_now() -> HostFull | None:
    """The error for a disk of the cache or of temporary files that has no space at all, which can
    show as anything; None when they have some."""
    for folder in (cache_folder(), Path(tempfile.gettempdir())):
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            continue
        if free < _NOTHING_BYTES:
            return HostFull(f"this host's disk is full: {folder}: {free} bytes free; {_REMEDY}")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        rest += [one.__cause__, one.__context__]
