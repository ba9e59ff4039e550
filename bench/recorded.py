"""The table that `bench/emulator.py --record` keeps: the emulator's ratios, by commit.

A CSV file, a line for each commit, machine, model and batch. It is not committed: ratios compare on
one machine only.
"""

import csv
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

FALL = 0.10
"""A ratio that fell by more is told."""
_COLUMNS = (
    "commit",
    "machine",
    "level",
    "threads",
    "model",
    "batch",
    "times_reference",
    "times_production",
)


@dataclass(frozen=True)
class Row:
    """What was measured of one model at one batch; a ratio above 1 is faster than the runtime."""

    model: str
    batch: int
    times_reference: float
    times_production: float


def commit() -> str:
    """The commit that is checked out; with a plus where files differ from it."""
    root = Path(__file__).parent
    git = ["git", "-C", str(root)]
    head = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    )
    clean = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode == 0
    return head.stdout.strip() + ("" if clean else "+")


class Recorded:
    """The table in a file, which is made where there is none.

    Args:
        path: of the CSV file.
        level: of the core that runs.
        threads: how many.
    """

    def __init__(self, path: Path, level: str | None, threads: int) -> None:
        self._path = path
        self._key = (commit(), platform.node(), level or "none", str(threads))

    def add(self, row: Row) -> Iterator[str]:
        """Write a row; tells each ratio that fell by more than a tenth since another commit.

        It is held against the last row of the same machine, level, threads, model and batch.
        """
        before = self._last(row)
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(_COLUMNS)
            writer.writerow([*self._key, *(_written(value) for value in astuple(row))])
        for column in ("times_reference", "times_production") if before else ():
            was, now = float(before[column]), getattr(row, column)
            if now < was * (1 - FALL):
                yield (
                    f"{row.model}, batch {row.batch}: {column} {now:.2f}, "
                    f"{was:.2f} at {before['commit']}"
                )

    def _last(self, row: Row) -> dict[str, str]:
        """The last line that compares; empty where there is none."""
        if not self._path.exists():
            return {}
        with self._path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        place = dict(zip(_COLUMNS[1:6], (*self._key[1:], row.model, str(row.batch)), strict=True))
        same = [x for x in lines if all(x[name] == value for name, value in place.items())]
        others = [x for x in same if x["commit"] != self._key[0]]
        return others[-1] if others else {}


def _written(value: str | float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
