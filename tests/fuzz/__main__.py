"""`python -m tests.fuzz`: damaged .tflite files against the reader and the emulator."""

import argparse
import sys
import time

from rich.console import Console

from tests.fuzz.campaign import fuzz
from tests.fuzz.cases import damaged, run


def main() -> int:
    """Run a campaign, or one case again; 1 when there is a defect."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", type=int, help="run one case in this process, and say so")
    options = parser.parse_args()
    console = Console()
    if options.case is not None:
        console.print(f"{len(damaged(options.case))} bytes: {run(options.case)}")
        return 0
    started = time.monotonic()
    with console.status("") as status:
        found = fuzz(
            options.first,
            options.files,
            options.workers,
            lambda done: status.update(f"{done} of {options.files} files"),
        )
    for case, what in found.defects:
        console.print(f"case {case}: {what}", markup=False)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.outcomes.items()))
    console.print(
        f"{sum(found.outcomes.values())} files in {time.monotonic() - started:.0f} s: {kinds}; "
        f"slowest {found.slowest_s:.2f} s; defects: {len(found.defects)}"
    )
    return 1 if found.defects else 0


if __name__ == "__main__":
    sys.exit(main())
