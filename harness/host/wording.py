"""What other programs say, made fit to be shown: whole lines, never cut within a word or a
bracket, and the place in the user's own code that an exception came through."""

import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from traceback import FrameSummary, extract_tb
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_OPENING, _CLOSING = "([{", ")]}"
_LONGEST_NAME = 64
_OURS = Path(__file__).resolve().parents[2]
_LONGEST = 500
_SAY_THE_VALUE = {"missing", "value_error", "json_invalid"}
"""Kinds of pydantic's errors whose reason names the value, or that have none."""


def first_line(text: str, most: int = _LONGEST) -> str:
    """The first line that says anything, whole where it has at most `most` characters; a longer one
    ends before the word or bracket that would be cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= most:
        return line
    depth, end = 0, 0
    for at, character in enumerate(line[: most + 1]):
        if character == " " and depth == 0:
            end = at
        depth += (character in _OPENING) - (character in _CLOSING and depth > 0)
    return f"{line[:end]} …" if end else "(one very long word)"


def first_fault(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, as `fault` says it."""
    return fault(error.errors()[0])


def fault(item: "ErrorDetails") -> str:
    """``key.of.it: why, got 'this'``: one of the things that pydantic found wrong. Without a key
    where all of it is wrong, without a value where there is none or the reason names it."""
    key = ".".join(str(part) for part in item["loc"])
    got = "" if item["type"] in _SAY_THE_VALUE else f", got {item['input']!r}"
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{got}"[:_LONGEST].removeprefix(": ")


def users_place(trace: TracebackType | None) -> str:
    """``net.py:12 in forward``: the innermost frame of the user's own code; "" for none."""
    return innermost((frame.filename, frame.lineno or 0, frame.name) for frame in _frames(trace))


def _frames(trace: TracebackType | None) -> list[FrameSummary]:
    return [] if trace is None else list(extract_tb(trace))


def innermost(frames: Iterable[tuple[str, int, str]]) -> str:
    """As `users_place`, of frames (file, line, function) from the outermost on."""
    place = ""
    for file, line, function in frames:
        if _is_users(file):
            place = f"{shown(file)}:{line} in {function}"
    return place


def shown(file: str) -> str:
    """A file's path, relative where it is under the current folder."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _is_users(file: str) -> bool:
    """Whether a source file is none of Python's, of packages, or of ours; the zoo's count too."""
    path = Path(file)
    if not path.is_absolute() or "site-packages" in path.parts:
        return False
    library = Path(sysconfig.get_path("stdlib"))
    if path.is_relative_to(library):
        return False
    if any(path.is_relative_to(_OURS / name) for name in ("harness", "targets", "farm", "reports")):
        return path.is_relative_to(_OURS / "harness" / "sources" / "zoo")
    return True


def short_name(name: str) -> str:
    """A tensor's name as messages and tables say it.

    Converters join the names of everything they fuse with ``;``, and name each by its whole path:
    the end of the first is kept.
    """
    first, *fused = name.split(";")
    if len(first) > _LONGEST_NAME:
        end = first[-_LONGEST_NAME:]
        first = f"…{end[max(end.find('/'), 0) :]}"
    return f"{first}; …" if fused else first


def told_apart(named: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What to call things of (name, digest): the name, with the digest's beginning where several
    share it."""
    pairs = set(named)
    names = Counter(name for name, _ in pairs)
    return {
        (name, digest): name
        if names[name] == 1
        else f"{name} ({f'digest {digest[:8]}' if digest else 'digest unknown'})"
        for name, digest in pairs
    }
