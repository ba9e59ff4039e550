"""Store: runs in a folder, and back as a table for analysis."""

import contextlib
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ModelError, UsageError
from harness.records import Run, dump_run, load_run
from reports.frame import frame_of

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE = "run.json"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def save_run(run: Run, folder: Path) -> Path:
    """Write the run to ``folder/<run id>/run.json``, whole or not at all.

    Returns:
        The file.

    Raises:
        UsageError: the folder cannot be written, or has another run of that id: runs are
            immutable.
    """
    if not _SAFE_ID.fullmatch(run.id):
        raise UsageError(f"run id {run.id!r}: not a file name of letters, digits, '.', '_', '-'")
    path = folder / run.id / RUN_FILE
    text = dump_run(run)
    partial = path.with_name(f".{RUN_FILE}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_bytes() == text:
                return path
            raise UsageError(f"{path}: holds another run of this id; runs are never overwritten")
        partial.write_bytes(text)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def read_runs(folder: Path) -> tuple[list[tuple[Path, Run]], list[str]]:
    """Every `run.json` under a folder, oldest first, and what is wrong with those that cannot be
    read.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"runs {folder}: no such folder")
    runs, problems = [], []
    for path in sorted(folder.rglob(RUN_FILE)):
        try:
            runs.append((path, load_run(path)))
        except ModelError as error:
            problems.append(str(error))
    runs.sort(key=lambda found: (found[1].created, found[1].id))
    return runs, problems


def load_runs(folder: Path | str) -> "pd.DataFrame":
    """All runs under a folder, one row each, oldest first; see `reports.frame.COLUMNS`.

    A file that cannot be read is not fatal: it is warned about, and listed in
    ``frame.attrs["problems"]``.
    """
    runs, problems = read_runs(Path(folder))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    frame = frame_of([run for _, run in runs], [str(path) for path, _ in runs])
    frame.attrs["problems"] = problems
    return frame
