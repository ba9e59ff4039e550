"""Every fault in every phase of a job on a phone: the right error in time, and a phone as before.

EDGEFARM_TEST_SEEDS=20 runs the whole matrix that often and prints what came; otherwise each fault
strikes once, in a phase that changes by the day.
"""

import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from queue import SimpleQueue

import pytest

from farm import fence
from farm.phones import WORKDIR
from farm.transports import adb, command, connect
from harness.errors import HarnessError
from harness.on_device import deploy
from tests.farm.fault_job import PHASES, FaultJob, Phase
from tests.farm.phones import NewPhone, VirtualPhone
from tests.farm.transports.conftest import shell

SEEDS = int(os.environ.get("EDGEFARM_TEST_SEEDS") or 0)
FAULTS = ("offline", "unauthorized", "drop", "hang", "slow", "reboot", "full-disk", "wrong-data")
WORKERS = 6 if SEEDS else 4
CASE_LIMIT_S = 120.0

# What was accepted before the fault came counts; a drop between two commands is waited out.
GONE = {"TransportError", "PhoneDisconnected", "PhoneOffline", "PhoneUnauthorized"}
SPOILT = {"ArtifactCorrupt", "TransportError", "DeviceError"}
RIGHT: dict[str, set[str]] = {
    "offline": GONE,
    "unauthorized": GONE,
    "drop": GONE | {"PASS"},
    "hang": {"DeviceTimeout"},
    "slow": {"PASS"},
    "reboot": GONE | {"PASS"},
    "full-disk": {"DeviceFull"},
    "wrong-data": SPOILT | {"PASS"},
}


def right(fault: str, phase: Phase) -> set[str]:
    """The outcomes that are right for a fault in a phase."""
    if phase == "clean-up" or (fault == "full-disk" and phase in {"run", "pull"}):
        late = {"PASS"} if phase != "run" else {"PASS", "DeviceFull"}
        return late | ({"TransportError"} if fault == "wrong-data" else set())
    return RIGHT[fault]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "READY_TIMEOUT_S", 6.0)
    monkeypatch.setattr(command, "_KILL_GRACE_S", 1.0)
    monkeypatch.setattr(deploy, "_COMMAND_TIMEOUT_S", 12.0)
    monkeypatch.setattr(fence, "_TIMEOUT_S", 12.0)


def cases() -> list[tuple[str, Phase, int]]:
    if SEEDS:
        return [(*cell, seed) for seed in range(SEEDS) for cell in product(FAULTS, PHASES)]
    day = int(time.time()) // 86_400
    return [(fault, PHASES[(day + n) % 5], day) for n, fault in enumerate(FAULTS)]


def outcome_of(job: FaultJob, phone: VirtualPhone, fault: str, phase: Phase, seed: int) -> str:
    """How the job ended."""
    try:
        job.run(phone, seed, phase, fault)
    except HarnessError as error:
        return type(error).__name__
    return "PASS"


def problems(job: FaultJob, phone: VirtualPhone, fault: str, phase: Phase, seed: int) -> list[str]:
    """What is wrong with one case; its outcome first."""
    start = time.monotonic()
    outcome = outcome_of(job, phone, fault, phase, seed)
    took = time.monotonic() - start
    phone.have("none")
    found = [outcome] if outcome in right(fault, phase) else [outcome, f"wrong: {outcome}"]
    if took > CASE_LIMIT_S:
        found.append(f"took {took:.0f} s")
    try:
        notes = job.run(phone, seed + 1000)
        if notes:
            found.append(f"the next job: {notes}")
    except (HarnessError, AssertionError) as error:
        found.append(f"the next job: {error}")
    return found


def left_on(phone: VirtualPhone) -> list[str]:
    """Files in the working folder but those of the store and the lease; processes but the phone's
    own and those of the question."""
    with connect(phone.device) as transport:
        files = shell(transport, f"cd {WORKDIR}; find . -type f").decode().split()
        stats = shell(transport, "cat /proc/[0-9]*/stat 2>/dev/null || true").decode()
    kept = [file for file in files if not file.startswith(("./store/", "./lease/tokens/"))]
    parts = [file for file in files if ".part-" in file]
    zombies = [line for line in stats.splitlines() if line.rpartition(")")[2].split()[:1] == ["Z"]]
    return [*kept, *parts, *zombies]


def zombies_here() -> list[str]:
    """Ended children of this process that nobody has waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[:2] == ["Z", str(os.getpid())]:
            found.append(stat.parent.name)
    return found


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600 if SEEDS else 600)
@pytest.mark.usefixtures("_impatient")
def test_every_fault_in_every_phase(
    new_phone: NewPhone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, waiting = FaultJob(tmp_path), SimpleQueue[tuple[str, Phase, int]]()
    for case in cases():
        waiting.put(case)
    results: dict[tuple[str, Phase], Counter[str]] = {}
    wrong: list[str] = []
    threads = set(threading.enumerate())

    def work(phone: VirtualPhone) -> None:
        job.run(phone, 0)
        while not waiting.empty():
            fault, phase, seed = waiting.get()
            outcome, *found = problems(job, phone, fault, phase, seed)
            results.setdefault((fault, phase), Counter())[outcome] += 1
            if SEEDS:
                print(f"{fault} in {phase}, seed {seed}: {outcome}", *found, file=sys.__stderr__)
            wrong.extend(f"{fault} in {phase}, seed {seed}: {text}" for text in found)
        wrong.extend(f"left on the phone: {text}" for text in left_on(phone))

    phones = [new_phone() for _ in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work, phone) for phone in phones]:
            done.result()
    with capsys.disabled():
        for (fault, phase), outcomes in sorted(results.items()):
            print(f"\n{fault:>12} in {phase:<8} {dict(outcomes)}", end="")
    assert not wrong
    assert not zombies_here()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(threading.enumerate()) - threads
