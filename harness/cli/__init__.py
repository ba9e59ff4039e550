"""The command line: a composition root. It puts the four packages together; nobody imports it."""

import importlib.util
import os
import sys
from pathlib import Path

_PACKAGES = ("harness", "targets", "farm", "reports")


def _hidden_by() -> str | None:
    """Say which folder hides one of the four packages, if one does.

    Their names are common words: a folder `reports/` beside a script is enough to hide ours.
    """
    ours = Path(__file__).resolve().parents[2]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        places = (
            [Path(p).resolve() for p in (spec.submodule_search_locations or ())] if spec else []
        )
        if ours / name not in places:
            found = ", ".join(str(place) for place in places) or "nowhere"
            return (
                f"edgefarm: package {name!r} was found in {found}, expected {ours / name}; "
                "run from another folder, or rename the folder that hides it"
            )
    return None


def _open_streams() -> None:
    """Where a standard stream is closed, the next file to be opened would get what is printed."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # standard error
        pass
    os.close(opened)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115  for good


def main() -> None:
    """Entry point of the `edgefarm` command."""
    _open_streams()
    if hidden := _hidden_by():
        sys.stderr.write(hidden + "\n")
        raise SystemExit(2)
    from harness.cli.app import run_app

    run_app()
