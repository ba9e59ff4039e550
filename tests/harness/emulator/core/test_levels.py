"""Which level runs, and what happens without one."""

import pytest

from harness.emulator import core
from harness.errors import UsageError


def test_none_switches_the_core_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    assert core.level() is None


@pytest.mark.parametrize("name", core.available_levels())
def test_a_level_can_be_forced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", name)
    assert core.level() == name


def test_the_best_level_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEFARM_CORE", raising=False)
    assert core.level() == next(iter(core.available_levels()), None)


def test_a_level_that_does_not_run_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", "sse9")
    with pytest.raises(UsageError, match="EDGEFARM_CORE=sse9 does not run here, allowed: none"):
        core.level()


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "257"])
def test_a_wrong_number_of_threads_is_named(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_THREADS", wrong)
    with pytest.raises(UsageError, match=f"EDGEFARM_THREADS={wrong}, allowed: 1 to 256"):
        core.threads()
