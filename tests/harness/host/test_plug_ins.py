"""What other distributions add: profiles here; tests/targets has the targets."""

import sys
from pathlib import Path

import pytest

from harness.emulator.profiles import PROFILES, all_profiles, get_profile
from harness.errors import UsageError

RENAMED = (
    "from dataclasses import replace\n"
    "from harness.emulator.profiles.litert_ref import LITERT_REF\n"
    "MINE = replace(LITERT_REF, name={name!r})\n"
)


def install(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an installed distribution `lab` whose module `lab_profiles` is `source`."""
    (folder / "lab_profiles.py").write_text(source)
    info = folder / "lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgefarm.profiles]\nmine = lab_profiles:MINE\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "lab_profiles", raising=False)


def test_another_distribution_adds_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no such profile"):
        get_profile("lab-cpu")
    install(tmp_path, RENAMED.format(name="lab-cpu"), monkeypatch)
    assert get_profile("lab-cpu").entries == PROFILES["litert-ref"].entries
    assert list(all_profiles()) == [*PROFILES, "lab-cpu"]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (RENAMED.format(name="litert-ref"), "'litert-ref' is in use"),
        ("MINE = 3", "is a int, no ArithmeticProfile"),
        ("1 / 0", "cannot be loaded: division by zero"),
    ],
)
def test_a_wrong_addition_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, named: str
) -> None:
    install(tmp_path, source, monkeypatch)
    with pytest.raises(UsageError, match=named) as raised:
        all_profiles()
    assert "profile 'mine' of lab" in str(raised.value)
    assert get_profile("litert-ref").name == "litert-ref"
