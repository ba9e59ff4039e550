"""What every command shares: the two consoles, the JSON form, progress bars, the errors.

Results go to stdout; progress, remarks and errors go to stderr, so that output can be piped.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic_core import to_json
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError, UsageError
from harness.host.disk import host_full
from harness.host.home import home
from harness.host.progress import Progress as Report

_COUNT_EVERY_S = 5.0
_LONGEST_NAME = 32
"""Names in a table's first columns are not broken up to this: they are there to be copied."""

stdout = Console(markup=False, emoji=False)
stderr = Console(stderr=True, markup=False, emoji=False)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout instead of tables, for machines.")
]


def print_json(value: object) -> None:
    """Print a value, dataclasses included, as JSON, and nothing else, on stdout."""
    sys.stdout.write(to_json(value, indent=2, inf_nan_mode="strings").decode() + "\n")
    sys.stdout.flush()  # at the end of the process nobody would be there to tell that it failed


def print_rows(
    title: str, rows: Sequence[Mapping[str, object]], *, as_json: bool, names: int = 1
) -> None:
    """Print rows that share their keys, as a table or as a JSON list; so many of the first columns
    hold names."""
    if as_json:
        print_json(rows)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, key in enumerate(rows[0] if rows else ()):
        longest = max(len(_cell(row[key])) for row in rows)
        whole = number < names and longest <= _LONGEST_NAME
        table.add_column(key, overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    stdout.print(table if rows else f"{title}: none")


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A progress bar on stderr, as the callback that long work reports to; lines in a log."""
    if not stderr.is_terminal:
        yield _progress_lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield report


def _progress_lines() -> Report:
    """One line for each stage begun, and the count now and then of one whose end is not known:
    what a log file wants."""
    said: dict[str, float] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage not in said:
            remark(f"· {stage}")
        elif total is None and done and now - said[stage] >= _COUNT_EVERY_S:
            remark(f"· {stage}: {done}")
        else:
            return
        said[stage] = now

    return report


def remark(text: str) -> None:
    """Print a line on stderr, as it is."""
    stderr.print(text, highlight=False, soft_wrap=True)


def check_folder(folder: Path, option: str = "--out") -> None:
    """Raise UsageError unless files can be written into a folder that may have to be made; found
    out before the work whose result goes there. Nothing is left behind."""
    there = folder.absolute()
    try:
        while not there.exists():
            there = there.parent
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UsageError(f"{option} {folder}: cannot be written: {error.strerror}") from error


def check_file(file: Path, option: str = "--out") -> None:
    """As `check_folder`, for a file."""
    if file.is_dir():
        raise UsageError(f"{option} {file}: is a folder; expected the name of a file")
    if file.exists() and not file.is_file():
        raise UsageError(f"{option} {file}: is no ordinary file; expected the name of a file")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{option} {file}: there is no folder {file.parent}")
    check_folder(file.absolute().parent, option)


@contextmanager
def after_result() -> Iterator[None]:
    """Keep a result that has been printed: when that fails, nothing is lost, and stdout keeps its
    one document; the error goes to stderr, its exit code is the command's."""
    try:
        yield
    except (HarnessError, OSError) as error:
        blamed = host_full(error) or error
        if not isinstance(blamed, HarnessError):
            raise
        fail(blamed, as_json=False)


def fail(error: HarnessError, *, as_json: bool) -> NoReturn:
    """Print an error the user can act on and end with its exit code."""
    try:
        if as_json:
            print_json({"error": {"kind": type(error).__name__, "message": str(error)}})
    except OSError:  # stdout itself is what fails; what is in its buffer goes nowhere
        as_json = False
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not as_json:
        remark(f"{type(error).__name__}: {error}")
    raise SystemExit(error.exit_code)


def fail_unexpectedly(error: Exception) -> NoReturn:
    """A defect of ours: the traceback goes to a file, its name and one line to the user."""
    try:
        log = home() / "crashes" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)))
        details = str(log)
    except (OSError, HarnessError) as trouble:
        details = f"not kept: {trouble}"
    remark(f"edgefarm: a defect of its own: {type(error).__name__}: {error}\n  details: {details}")
    raise SystemExit(3)
