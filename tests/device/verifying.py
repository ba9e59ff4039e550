"""How much the tests that verify whole models cover, and what they print."""

import os
from pathlib import Path

from harness.verify.verification import VerifyReport
from tests.harness.cli.command import Edgefarm

SEEDS = range(int(os.environ.get("EDGEFARM_TEST_SEEDS", "1")))
FULL = len(SEEDS) > 1
"""Whether the largest models run, and on the boards too, whose cores are emulated."""


def quantized(edgefarm: Edgefarm, folder: Path, model: str, target: str) -> Path:
    """The folder of a network of the zoo in a recipe, "network/recipe"; made once a session."""
    network, _, recipe = model.partition("/")
    made = folder / f"{network}-{recipe}-{target}"
    if not made.exists():
        where = ("--target", target, "--recipe", recipe, "--out", made)
        assert edgefarm("quantize", f"zoo:{network}", *where).code == 0
    return made


def show(path: Path, report: VerifyReport) -> None:
    """A line about a model."""
    exact = [row for row in report.rows if row.promise == "exact"]
    print(
        f"\n{path.parent.name[-45:] if path.stem == 'model' else path.stem:46}"
        f" {report.profile:31} {report.invocations:2} inputs"
        f" {sum(row.nodes for row in exact):3} of {sum(row.nodes for row in report.rows):3} nodes"
        f" exact, {sum(row.elements for row in exact):9} elements"
        f" {sum(row.differing or 0 for row in exact)} differing,"
        f" end to end {report.end_to_end.verdict}"
    )
