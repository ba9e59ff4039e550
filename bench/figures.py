"""Figures: what a bench reached, beside what it was to reach."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

CONSOLE = Console()


@dataclass(frozen=True)
class Figure:
    """One row.

    Attributes:
        name: what was counted or measured.
        reached: in words, with its unit.
        wanted: as `reached`; "" for what is only told.
        holds: whether it is reached.
        timed: a time, which depends on the machine and on what else it does.
    """

    name: str
    reached: str
    wanted: str
    holds: bool
    timed: bool = False


def print_figures(
    title: str, figures: Sequence[Figure], *, as_json: bool, times: bool = True
) -> int:
    """Print them; the exit code: 1 when one does not hold.

    Args:
        title: of the table.
        figures: its rows.
        as_json: print a line of JSON instead.
        times: whether times decide the exit code, too.
    """
    failed = any(not one.holds for one in figures if times or not one.timed)
    if as_json:
        print(json.dumps({"title": title, "figures": [asdict(one) for one in figures]}))
        return int(failed)
    table = Table(title=title)
    for name in ("figure", "reached", "to reach", ""):
        table.add_column(name)
    for one in figures:
        verdict = ("PASS" if one.holds else "FAIL") if one.wanted else ""
        table.add_row(one.name, one.reached, one.wanted, verdict)
    CONSOLE.print(table)
    return int(failed)
