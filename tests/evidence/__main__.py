"""`python -m tests.evidence MACHINE`: the generated families there, against the emulator."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console

from farm.transports import connect
from farm.virtual.boards import create_board, destroy_board, device_of, start_board
from harness.device import Transport
from harness.host.home import home
from tests.evidence import record
from tests.evidence.cases import MODELS, cases_of
from tests.evidence.machines import MACHINES, Machine
from tests.evidence.measure import Tally, measure_all


@contextlib.contextmanager
def reach(machine: Machine) -> Iterator[Transport | None]:
    """A transport to a board made for the run; None for this host."""
    if machine.board is None:
        yield None
        return
    core, runtime = machine.board
    name = f"evidence-{core}-{os.getpid()}"
    create_board(name, core=core, runtime=runtime, home=home())
    try:
        with connect(device_of(start_board(name, home=home()))) as transport:
            yield transport
    finally:
        destroy_board(name, home=home())


def show(console: Console, profile: str, family: str, tally: Tally) -> None:
    """One line."""
    verdict = "exact" if tally.elements and not tally.differing else ""
    notes = [
        f"{tally.loose} not promised, {tally.loose_differing} differ" if tally.loose else "",
        f"{tally.unknown} outputs without an entry" if tally.unknown else "",
        f"refused {len(tally.refused)}: {tally.refused[0]}" if tally.refused else "",
        f"DIFFER: {', '.join(tally.wrong)}" if tally.wrong else "",
    ]
    console.print(
        f"{profile:31} {family:34} {tally.models:4} models {tally.delegated:4} delegated"
        f" {tally.elements:9} elements {tally.differing:6} differing {verdict:6}"
        f"{'; '.join(note for note in notes if note)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def main() -> int:
    """Run; 1 when something that is declared exact differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--families", nargs="+", default=["*"], help="patterns, e.g. 'CONV_2D-*'")
    parser.add_argument("--models", type=int, default=MODELS, help="of each family, at least")
    parser.add_argument("--profile", help="one of the machine's profiles alone")
    parser.add_argument("--record", action="store_true", help="write tests/golden/measured")
    options = parser.parse_args()
    console, machine = Console(), MACHINES[options.machine]
    began = time.monotonic()
    profiles = {n: k for n, k in machine.profiles.items() if options.profile in (None, n)}
    with reach(machine) as transport:
        found = measure_all(profiles, cases_of(options.families, options.models), transport)
    for name, measured in found.items():
        for family, tally in measured.families.items():
            show(console, name, family, tally)
    for name, measured in found.items():
        show(console, name, "all", measured.total)
    console.print(f"{time.monotonic() - began:.0f} s")
    if options.record:
        whole = options.families == ["*"] and not options.profile
        console.print(f"recorded in {record.write(options.machine, found, whole=whole)}")
    return int(any(measured.total.differing for measured in found.values()))


if __name__ == "__main__":
    sys.exit(main())
