"""Summary: what came of a night, as rows, text, JSON and JUnit XML."""

from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.records import MACHINE_FAILED, Outcome, exit_code

_FAILURES = {Outcome.FAIL, Outcome.WARN}
"""Outcomes that JUnit calls a failure, of the numbers; the others are errors."""
_CONTROL = {code: "?" for code in range(32) if chr(code) not in "\t\n\r"}


@dataclass(frozen=True)
class Row:
    """One model and recipe on one device.

    Attributes:
        model, recipe, target: of the job; `recipe` is "" for a model that came quantized, and the
            name with the digest's beginning where recipes of that name differ.
        device: None when no device had it.
        outcome: how it ended.
        message: why it is not PASS.
        job: its id; None when it could not be submitted.
        run: id of the result; None without one.
        seconds: on the device.
        latency: against the nights before, in words; "" where it cannot be judged.
        slower: whether it is slower than they were.
    """

    model: str
    recipe: str
    target: str
    device: str | None
    outcome: Outcome
    message: str
    job: str | None
    run: str | None
    seconds: float | None
    latency: str = ""
    slower: bool = False

    def timed(self, latency: str, *, slower: bool, fails: bool) -> "Row":
        """With its latency judged; a PASS or WARN that is slower becomes a FAIL where that is
        asked for."""
        if slower and fails and self.outcome in {Outcome.PASS, Outcome.WARN}:
            why = "; ".join(filter(None, (latency, self.message)))
            return replace(self, latency=latency, slower=True, outcome=Outcome.FAIL, message=why)
        return replace(self, latency=latency, slower=slower)


@dataclass(frozen=True)
class Summary:
    """A whole night.

    Attributes:
        name: of the plan.
        night: id of the night.
        seconds: from the first submit to the end.
        rows: in the plan's order.
        notes: what the reader should know, e.g. what was left out.
    """

    name: str
    night: str
    seconds: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Of the worst row: 0 when all passed, 4 when no limit failed but something looks wrong
        (WARN), 1 when numbers or models failed, 3 when machines did or nothing was run."""
        return exit_code(row.outcome for row in self.rows) if self.rows else MACHINE_FAILED

    @property
    def headline(self) -> str:
        """E.g. ``nightly main: 7 PASS, 1 FAIL``."""
        counts = [(one, sum(row.outcome is one for row in self.rows)) for one in Outcome]
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts if count)
        return f"nightly {self.name}: {told or 'nothing was run'}"

    def text(self) -> str:
        """For a message: the headline, what is not PASS, what is slower, the notes."""
        lines = [self.headline, f"night {self.night}, {self.seconds / 60:.0f} min"]
        lines += [
            f"{row.outcome}  {_what(row)} on {row.device or row.target}: {row.message}"
            for row in self.rows
            if row.outcome is not Outcome.PASS
        ]
        lines += [
            f"{_what(row)} on {row.device}: {row.latency}"
            for row in self.rows
            if row.slower and not row.message.startswith(row.latency)
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def write_junit(summary: Summary, path: Path) -> None:
    """Write the night as JUnit XML: a suite for each model, a case for each recipe and device."""
    suites = ET.Element("testsuites", name=f"nightly {summary.name}")
    for model in dict.fromkeys(row.model for row in summary.rows):
        rows = [row for row in summary.rows if row.model == model]
        failed = sum(row.outcome in _FAILURES for row in rows)
        passed = sum(row.outcome is Outcome.PASS for row in rows)
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=_xml(model),
            tests=str(len(rows)),
            failures=str(failed),
            errors=str(len(rows) - failed - passed),
        )
        for row in rows:
            _add_case(suite, row)
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _add_case(suite: ET.Element, row: Row) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_xml(f"{row.target}.{row.recipe or 'as-is'}"),
        name=_xml(row.device or "no device"),
        time=f"{row.seconds or 0:.3f}",
    )
    if row.outcome is not Outcome.PASS:
        kind = "failure" if row.outcome in _FAILURES else "error"
        first = _xml(row.message.partition("\n")[0])
        told = ET.SubElement(case, kind, type=str(row.outcome), message=first)
        told.text = _xml(row.message)


def _what(row: Row) -> str:
    return f"{row.model} {row.recipe}".strip()


def _xml(text: str) -> str:
    """Without what XML cannot hold."""
    clean = text.translate(_CONTROL)
    return "".join(
        c if c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "?" for c in clean
    )
