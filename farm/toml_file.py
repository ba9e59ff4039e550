"""TOML files that both people and commands edit: comments stay, a change is whole or not there."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tomlkit
from pydantic import ValidationError

from farm.virtual.locks import locked
from harness.errors import HarnessError, UsageError
from harness.host.plain_files import read_plain
from harness.host.wording import fault


def read_text(path: Path) -> str:
    """What the file says; nothing when it is not there.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return read_plain(path).decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


@contextmanager
def edit(path: Path, check: Callable[[str], object]) -> Iterator[tomlkit.TOMLDocument]:
    """Lock the file and hand out its document; at the end the changed one takes its place.

    Args:
        path: of the file; it is made if it is not there.
        check: raises UsageError when a text must not stand in the file.

    Raises:
        UsageError: `check` refuses the text, before or after the change.
        HarnessError: the file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = path.resolve()  # the file may be a link into somebody's dotfiles
        with locked(target.with_name(f".{target.name}.lock"), f"{path} is being changed"):
            text = read_text(target)
            check(text)
            document = tomlkit.parse(text)
            yield document
            changed = tomlkit.dumps(document)
            check(changed)
            _replace(target, changed)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written: {error.strerror}") from error


def explain(error: ValidationError, text: str, path: Path) -> str:
    """A line for each thing that is wrong: where, which key, why, and what it got."""
    return "\n".join(
        f"{find_line(text, item['loc'], path)}: {fault(item)}" for item in error.errors()
    )


def find_line(text: str, location: tuple[int | str, ...], path: Path) -> str:
    """``file:line`` of a key, as far as ``[table]`` headers and ``key =`` lines tell."""
    sought = [str(part) for part in location]
    table: list[str] = []
    met: Counter[str] = Counter()
    found, depth = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[+)([^\]]*)\]", line)
        key = re.match(r"\s*([^=#\[]+?)\s*=", line)
        if header:
            table = _parts(header[2])
            if header[1] == "[[":
                table.append(str(met[header[2]]))
                met[header[2]] += 1
        here = table if header else [*table, *_parts(key[1])] if key else []
        if len(here) > depth and here == sought[: len(here)]:
            found, depth = number, len(here)
    return f"{path}:{found}" if found else str(path)


def _parts(key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in key.split(".")]


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix=f".{path.name}.", dir=path.parent, delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode)
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()
            raise
