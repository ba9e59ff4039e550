"""A short campaign; `python -m tests.fuzz --files 100000` is the long one."""

import faulthandler
import os
import time
from pathlib import Path

import pytest

from tests.fuzz import campaign
from tests.fuzz.campaign import fuzz


def test_damaged_files_neither_crash_nor_hang_nor_grow() -> None:
    found = fuzz(first=0, files=6000)
    assert not found.defects
    assert found.outcomes.total() == 6000
    assert found.outcomes["ran"] > 500, "the damage leaves nothing to run"
    assert found.outcomes["refused"] > 500, "the damage breaks nothing"


def test_a_campaign_sees_a_crash_a_hang_and_growth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def planted(case: int) -> str:
        (tmp_path / str(case)).touch()
        if case == 1:
            faulthandler.disable()
            os.abort()
        if case == 3:
            time.sleep(60)
        if case == 5:
            bytearray(1 << 26)
        if case == 7:
            raise IndexError("planted")
        return "ran"

    monkeypatch.setattr(campaign, "run", planted)
    monkeypatch.setattr(campaign, "HANG_S", 0.5)
    monkeypatch.setattr(campaign, "MEMORY_BYTES", 1 << 25)
    found = fuzz(first=0, files=9)
    assert [case for case, _ in found.defects] == [1, 3, 5, 7]
    assert found.outcomes == {"ran": 5, "defect": 4}
    assert len(list(tmp_path.iterdir())) == 9, "every case ran, whatever ended those before"
