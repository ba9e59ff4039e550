"""What was compared on each machine: tests/golden/measured, one line for each row of a profile."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path

from harness.arithmetic.profile import ArithmeticProfile, Evidence
from harness.emulator.foreseen import FLOAT
from harness.emulator.profiles import get_profile
from tests.evidence.cases import Row, row_of
from tests.evidence.measure import Measured

FOLDER = Path(__file__).parents[1] / "golden/measured"
_HEADER = "profile\top\tdtype\tweights\tsemantics\tcondition\telements\n"


def write(machine: str, measured: Mapping[str, Measured], *, whole: bool) -> Path:
    """Record what was equal in every model that met it.

    Args:
        machine: names the file.
        measured: by profile.
        whole: of a run of all families; else what other runs recorded is kept, where the profile
            still has that row.
    """
    path = FOLDER / f"{machine}.tsv"
    counts = {} if whole or not path.exists() else _still_there(_counts(path))
    for profile, found in measured.items():
        for row in found.differing:
            counts.pop((profile, row), None)
        equal = {row: n for row, n in found.elements.items() if n and row not in found.differing}
        counts |= {(profile, row): n for row, n in equal.items()}
    lines = ["\t".join((profile, *astuple(row), str(n))) for (profile, row), n in counts.items()]
    FOLDER.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEADER + "".join(f"{line}\n" for line in sorted(lines)))
    return path


def _still_there(counts: dict[tuple[str, Row], int]) -> dict[tuple[str, Row], int]:
    rows = {name: {*_rows(get_profile(name))} for name in {name for name, _ in counts}}
    return {(name, row): n for (name, row), n in counts.items() if row in rows[name]}


def _rows(profile: ArithmeticProfile) -> Iterator[Row]:
    for entry in profile.entries:
        for op in entry.ops:
            for dtype in entry.dtypes:
                for weights in entry.weights or ("",):
                    yield row_of(entry, op, dtype, weights)


def _counts(path: Path) -> dict[tuple[str, Row], int]:
    fields = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {(profile, Row(*row)): int(n) for profile, *row, n in fields}


def read(machine: str) -> dict[str, set[Row]]:
    """The rows that a machine's record holds, by profile."""
    rows: dict[str, set[Row]] = {}
    for profile, row in _counts(FOLDER / f"{machine}.tsv"):
        rows.setdefault(profile, set()).add(row)
    return rows


def claimed(profile: ArithmeticProfile) -> Iterator[Row]:
    """The rows of a profile that say MEASURED, but for those which no node can reach."""
    taken: set[tuple[str, str, str]] = set()
    for entry in profile.entries:
        for op in entry.ops:
            for dtype in entry.dtypes:
                for weights in entry.weights or ("",):
                    if {(op, dtype, ""), (op, dtype, weights)} & taken:
                        continue
                    if entry.when is None:
                        taken.add((op, dtype, weights))
                    if entry.evidence is Evidence.MEASURED and entry.semantics != FLOAT:
                        yield row_of(entry, op, dtype, weights)
