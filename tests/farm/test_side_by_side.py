"""Phones and boards at once from one process: what befalls one does not disturb the others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.device import Device
from harness.errors import HarnessError
from tests.farm.fault_job import FaultJob
from tests.farm.phones import NewPhone, VirtualPhone

JOBS = 2


@pytest.mark.slow
def test_four_phones_and_two_boards(
    new_phone: NewPhone,
    cortex_a76: Device,
    busybox_board: Device,
    board_home: Path,
    tmp_path: Path,
) -> None:
    """One phone's connection is broken in each of its runs; every other job passes."""
    job = FaultJob(tmp_path)
    phones = [new_phone() for _ in range(4)]
    boards = [VirtualPhone(board.name, board_home, board) for board in (cortex_a76, busybox_board)]
    together = threading.Barrier(len(phones) + len(boards))

    def work(unit: VirtualPhone) -> list[str]:
        ended = []
        for seed in range(JOBS):
            together.wait(timeout=120)
            try:
                job.run(unit, seed, *(("run", "drop") if unit is phones[0] else ()))
                ended.append("PASS")
            except HarnessError as error:
                ended.append(type(error).__name__)
        return ended

    with ThreadPoolExecutor(6) as pool:
        broken, *others = pool.map(work, [*phones, *boards])
    assert broken == ["TransportError"] * JOBS
    assert others == [["PASS"] * JOBS] * 5
    assert job.run(phones[0], JOBS) == ()
