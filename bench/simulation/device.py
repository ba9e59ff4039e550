"""One simulated device: what a lease, a push, a job and a pull do on it, and what goes wrong.

It obeys the fence as the scripts of `farm.fence` do on a real one: the highest token is valid, and
a claim ends what runs. Nothing here keeps two jobs under one token apart: that is the farm's duty,
and the log, written here, is the judge of it.
"""

import hashlib
import json
import random
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

FAULTS = (
    "disconnect_in_push", "disconnect_in_run", "hang", "reboot", "truncated_pull",
    "corrupt_output", "disk_full", "clock_jump",
)  # fmt: skip
Bad = Literal["", "crashes", "wrong", "dead", "stolen"]
REBOOT_S = 0.5


class Lost(Exception):
    """The token is not the device's newest."""


class Broken(Exception):
    """The connection breaks."""


@dataclass
class Run:
    """A job that runs: ended by itself, or by a claim."""

    nonce: str
    aborted: threading.Event = field(default_factory=threading.Event)


class SimulatedDevice:
    """State of one device; `write` appends a line to the device-side log."""

    def __init__(
        self, name: str, seed: int, fault_rate: float, bad: Bad, write: Callable[[dict], None]
    ) -> None:
        self.name = name
        self.bad = bad
        self._fault_rate = fault_rate
        self._chance = random.Random(f"{seed}/{name}")  # noqa: S311  a reproducible draw
        self._write = write
        self._use = threading.RLock()
        self._token = 0
        self._down_until = 0.0
        self._runs: list[Run] = []
        self._files: dict[str, bytes] = {}

    def reachable(self) -> bool:
        """Whether it answers."""
        return self.bad != "dead" and time.monotonic() >= self._down_until

    def draw_seconds(self, mean: float) -> float:
        """How long a job takes."""
        with self._use:
            return mean * self._chance.uniform(0.5, 1.5)

    def draw_fault(self) -> str:
        """What will go wrong in this session; empty for nothing."""
        with self._use:
            faulty = self._chance.random() < self._fault_rate
            return self._chance.choice(FAULTS) if faulty else ""

    def claim(self, token: int, holder: str) -> None:
        """Accept a lease, and end what runs."""
        with self._use:
            if token < self._token:
                raise Lost(str(self._token))
            self._token = token
            self.log("claim", token=token, holder=holder)
            for run in self._runs:
                run.aborted.set()
                self.log("end", nonce=run.nonce, how="aborted by a claim")
            self._runs.clear()

    def check(self, token: int) -> None:
        """Refuse a token that is not the newest."""
        with self._use:
            if token != self._token:
                self.log("refused", token=token)
                raise Lost(str(self._token))

    def push(self, path: str, content: bytes, sha256: str, fault: str) -> str:
        """Keep a file; "full" when there is no space."""
        if fault == "disconnect_in_push":
            raise Broken
        if fault == "disk_full":
            return "full"
        with self._use:
            self._files[path] = content
        return "" if hashlib.sha256(content).hexdigest() == sha256 else "corrupt"

    def begin(self, token: int, nonce: str, label: str) -> Run:
        """A job begins."""
        with self._use:
            self.check(token)
            run = Run(nonce)
            self._runs.append(run)
            self.log("begin", nonce=nonce, token=token, label=label)
            return run

    def end(self, run: Run, how: str) -> bool:
        """It ends; False when a claim has ended it before."""
        with self._use:
            if run not in self._runs:
                return False
            self._runs.remove(run)
            self.log("end", nonce=run.nonce, how=how)
            return True

    def reboot(self) -> None:
        """Everything stops; the token stays, as it is on the disk."""
        with self._use:
            self._down_until = time.monotonic() + REBOOT_S
            for run in list(self._runs):
                run.aborted.set()
                self.end(run, "reboot")

    def result(self, nonce: str, label: str, fault: str) -> bytes:
        """What a job leaves to be pulled."""
        answer = zlib.crc32(label.encode())
        if fault == "corrupt_output" or self.bad == "wrong":
            answer ^= 1 << self._chance.randrange(32)
        clock = time.time() - (10**8 if fault == "clock_jump" else 0)
        content = json.dumps({"nonce": nonce, "answer": answer, "clock": clock}).encode()
        return content[: len(content) // 2] if fault == "truncated_pull" else content

    def log(self, what: str, **fields: object) -> None:
        """Append a line to the device-side log."""
        self._write({"t": time.monotonic(), "device": self.name, "what": what, **fields})
