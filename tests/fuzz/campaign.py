"""Runs cases in worker processes that may die, hang or grow, and says which did."""

import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.fuzz.cases import corpus, run

HANG_S = 2.0
MEMORY_BYTES = 1 << 30
"""How much a worker may grow over one file: the reader's limit for a graph's tensors."""

_STARTUP_S = 60.0


@dataclass
class Findings:
    """What became of the files.

    Attributes:
        outcomes: how many of each kind.
        defects: case number and what happened; must stay empty.
        slowest_s: the longest a file took.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    defects: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0


def fuzz(
    first: int, files: int, workers: int = 1, progress: Callable[[int], None] = lambda _done: None
) -> Findings:
    """Run the cases `first` to `first + files`."""
    corpus()  # made once, before the workers are forked
    findings = Findings()
    share = -(-files // workers)
    ranges = [range(s, min(s + share, first + files)) for s in range(first, first + files, share)]
    running = [_Worker(cases) for cases in ranges]
    while running:
        for worker in list(running):
            if not worker.poll(findings):
                running.remove(worker)
        progress(sum(findings.outcomes.values()))
    return findings


class _Worker:
    """A process that works through a range; a new one goes on after the case that ended it."""

    def __init__(self, cases: range) -> None:
        self._cases = cases
        self._at = multiprocessing.get_context("fork").Array("d", [cases.start, 0.0], lock=False)
        self._start(cases.start)

    def _start(self, first: int) -> None:
        fork = multiprocessing.get_context("fork")
        self._at[0], self._at[1] = first, time.monotonic() + _STARTUP_S
        self._pipe, theirs = fork.Pipe(duplex=False)
        rest = range(first, self._cases.stop)
        self._process = fork.Process(target=_work, args=(rest, self._at, theirs))
        self._process.start()
        theirs.close()

    def poll(self, findings: Findings) -> bool:
        """Take what it says; False when the range is done."""
        if self._pipe.poll(0.2):
            while self._pipe.poll():
                try:
                    outcome, seconds, defect = self._pipe.recv()
                except EOFError:
                    self._process.join()
                    return self._process.exitcode != 0 and self._goes_on(
                        findings, f"ended the process: {self._process.exitcode}"
                    )
                findings.outcomes[outcome] += 1
                findings.slowest_s = max(findings.slowest_s, seconds)
                findings.defects += defect
        elif time.monotonic() - self._at[1] > HANG_S:
            os.kill(self._process.pid or 0, signal.SIGKILL)
            self._process.join()
            return self._goes_on(findings, f"hangs for more than {HANG_S:g} s")
        return True

    def _goes_on(self, findings: Findings, what: str) -> bool:
        case = int(self._at[0])
        findings.defects.append((case, what))
        findings.outcomes["defect"] += 1
        if case + 1 >= self._cases.stop:
            return False
        self._start(case + 1)
        return True


def _work(cases: range, at: "list[float]", pipe: Connection) -> None:
    peak = _peak_bytes()
    for case in cases:
        at[0], at[1] = case, time.monotonic()
        try:
            outcome, defects = run(case), []
        except BaseException:  # whatever it is, it is the finding
            outcome, defects = "defect", [(case, traceback.format_exc(limit=-3))]
        grown, peak = _peak_bytes() - peak, _peak_bytes()
        if grown > MEMORY_BYTES:
            outcome, defects = "defect", [(case, f"grew by {grown} bytes")]
        pipe.send((outcome, time.monotonic() - at[1], defects))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
