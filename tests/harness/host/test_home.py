from pathlib import Path

import pytest

from harness.host.home import home


def test_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path / "deep" / "home"))
    assert home() == tmp_path / "deep" / "home"
    assert home().is_dir()


@pytest.mark.parametrize("value", [None, ""])
def test_default_is_the_users_data_folder(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("EDGEFARM_HOME", raising=False)
    else:
        monkeypatch.setenv("EDGEFARM_HOME", value)
    assert home() == tmp_path / "edgefarm"


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEFARM_HOME", "here")
    assert home() == tmp_path / "here"
