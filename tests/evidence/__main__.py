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
from farm.virtual.cpuinfo import Core
from farm.virtual.rootfs import RuntimeKind
from harness.device import Transport
from harness.host.home import home
from tests.evidence import record
from tests.evidence.cases import MODELS, cases_of
from tests.evidence.machines import MACHINES, PROGRAM_MACHINES, Machine, ProgramMachine
from tests.evidence.measure import Measured, Tally, measure_all
from tests.evidence.programs import all_programs, measure_programs


@contextlib.contextmanager
def reach(board: tuple[Core, RuntimeKind] | None) -> Iterator[Transport | None]:
    """A transport to a board made for the run; None for this host."""
    if board is None:
        yield None
        return
    core, runtime = board
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


def of_models(machine: Machine, options: argparse.Namespace) -> dict[str, Measured]:
    """What LiteRT's kernels there gave, by profile."""
    profiles = {n: k for n, k in machine.profiles.items() if options.profile in (None, n)}
    with reach(machine.board) as transport:
        return measure_all(profiles, cases_of(options.families, options.models), transport)


def of_programs(machine: ProgramMachine, patterns: list[str]) -> dict[str, Measured]:
    """What ExecuTorch gave there, by profile."""
    cases = [*all_programs(patterns)]
    with reach((machine.core, "none") if machine.core else None) as transport:
        return {machine.profile: measure_programs(machine.profile, cases, transport, machine.under)}


def main() -> int:
    """Run; 1 when something that is declared exact differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("machine", choices=(*MACHINES, *PROGRAM_MACHINES))
    parser.add_argument("--families", nargs="+", default=["*"], help="patterns, e.g. 'CONV_2D-*'")
    parser.add_argument("--models", type=int, default=MODELS, help="of each family, at least")
    parser.add_argument("--profile", help="one of the machine's profiles alone")
    parser.add_argument("--record", action="store_true", help="write tests/golden/measured")
    options = parser.parse_args()
    console, began = Console(), time.monotonic()
    if options.machine in MACHINES:
        found = of_models(MACHINES[options.machine], options)
    else:
        found = of_programs(PROGRAM_MACHINES[options.machine], options.families)
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
