"""docs/modules.md: a table of what each kind of module comes to, and the causes of the gaps."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.records import Outcome, Run
from tests.lowering.catalogue import CASES

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "docs" / "modules.md"
RECORD = _ROOT / "tests" / "golden" / "lowering.json"
"""What each case came to when it was last run; the page is made of it."""

Found = dict[str, dict[str, "Cell"]]
_HEAD = """# Modules that lower, run and stay exact

Written by `python -m tests.lowering --record`: each row is a small network around one layer,
lowered by recipe `{recipe}`, run on this host by the real runtime, and compared with the emulator.

- **exact**: no output differs, and every op has a verified entry.
- **float**: the runtime computes it in float, which is never promised bit for bit.
- **unknown**, **refused**: a gap; its cause stands below the table.

"N of M layers" says how many of the layers that have weights the recipe reached.

"""


@dataclass(frozen=True)
class Cell:
    """What a case came to on a runtime: the words of the table, and a cause where it is a gap."""

    text: str
    cause: str = ""
    differs: bool = False


def refused(message: str) -> Cell:
    """A case that ended in an error."""
    return Cell("refused", _without_paths(" ".join(message.split())))


def _without_paths(text: str) -> str:
    """Files of this machine by their names alone; where a log lies is left out."""
    text = re.sub(r"[ ;,]*\([^()]*(?<![\w.])/[^()]*\)", "", text)
    return re.sub(r"(?<![\w.])/(?:[\w.@+-]+/)+", "", text)


def cell_of(run: Run) -> Cell:
    """The words for a run."""
    if run.failure is not None:
        return refused(run.failure.message)
    exactness = run.exactness
    if exactness is None:
        return Cell("unknown", "nothing was compared")
    words = exactness.verdict
    if exactness.verdict == "differs":
        return Cell("**differs**", exactness.reason, differs=True)
    cause = exactness.reason if exactness.verdict in {"unknown", "assumed"} else ""
    if run.outcome is not Outcome.PASS and not cause:
        cause = _without_paths("; ".join(run.reasons))
    if reached := reached_words(run):
        words = f"{words}, {reached}"
    return Cell(words, cause)


def reached_words(run: Run) -> str:
    """How many layers the recipe reached, where not all of them."""
    layers = run.manifest.reached if run.manifest else ()
    done = sum(layer.reached == "quantized" for layer in layers)
    return "" if done == len(layers) else f"{done} of {len(layers)} layers"


def record(name: str, cells: Mapping[str, Cell]) -> Found:
    """Keep what a case came to; gives all that is kept, in the catalogue's order."""
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    kept[name] = {runtime: asdict(cell) for runtime, cell in cells.items()}
    kept = {case: kept[case] for case in CASES if case in kept}
    RECORD.write_text(json.dumps(kept, indent=1) + "\n")
    return {
        case: {runtime: Cell(**cell) for runtime, cell in runtimes.items()}
        for case, runtimes in kept.items()
    }


def write_table(found: Found, runtimes: list[str], recipe: str) -> Path:
    """Write the page; gives its path."""
    lines = [_HEAD.format(recipe=recipe)]
    for group, names in itertools.groupby(found, key=lambda name: CASES[name].group):
        lines.append(f"## {group}\n\n| module | {' | '.join(runtimes)} |\n|---|{'---|' * 2}\n")
        for name in names:
            cells = " | ".join(found[name][runtime].text for runtime in runtimes)
            lines.append(f"| {CASES[name].title} | {cells} |\n")
        lines.append("\n")
    lines.append("## Gaps and their causes\n\n")
    for name, cells in found.items():
        for runtime, cell in cells.items():
            if cell.cause:
                lines.append(f"- **{CASES[name].title}**, {runtime}: {cell.cause}\n")
    PAGE.write_text("".join(lines), encoding="utf-8")
    return PAGE
