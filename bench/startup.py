"""How long commands take to start: CPU time beside a bare Python that imports typer and rich.

``python bench/startup.py [--rounds N]`` prints, for each command that does no work, its median
CPU time (user and system, of the whole process) and its ratio to the bare one. Rounds are
interleaved, so that a busy machine slows all alike.
"""

import argparse
import os
import statistics
import subprocess
import sys

BARE = ("-c", "import typer, rich.console, rich.table, rich.progress")
COMMANDS = (
    "version",
    "--help",
    "recipes",
    "targets",
    "profiles",
    "run --help",
    "status --help",
    "device list",
)


def cpu_s(arguments: tuple[str, ...]) -> float:
    """CPU time of one Python process, in seconds."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    lines = {"bare Python, typer, rich": BARE} | {
        f"edgefarm {command}": ("-m", "harness.cli", *command.split()) for command in COMMANDS
    }
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(rounds):
        for name, arguments in lines.items():
            taken[name].append(cpu_s(arguments))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    bare = medians["bare Python, typer, rich"]
    print(f"{'':28}{'CPU, s':>8}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:28}{median:8.3f}{median / bare:8.1f}")


if __name__ == "__main__":
    main()
