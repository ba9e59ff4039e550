"""The farm's processes, as its users start them: for tests that kill them."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EDGEFARM = [sys.executable, "-m", "harness.cli"]

Child = subprocess.Popen[str]
Environment = dict[str, str]


def call(environment: Environment, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [*EDGEFARM, *words], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )


def start(environment: Environment, *words: str, until: str) -> tuple[Child, str]:
    """Start a service and wait for a line on stderr; what matched in it."""
    child = subprocess.Popen(
        [*EDGEFARM, *words], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stderr is not None
    said = []
    for line in child.stderr:
        said.append(line)
        if found := re.search(until, line):
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return child, found[0]
    raise AssertionError(f"it ended with {child.wait()}:\n{''.join(said)[-2000:]}")


@contextmanager
def service(environment: Environment, *words: str, until: str) -> Iterator[str]:
    """A service for the time of the context; what matched in its line."""
    child, found = start(environment, *words, until=until)
    try:
        yield found
    finally:
        child.terminate()
        child.wait(60)
