"""Hexagon through ExecuTorch: an SDK that is missing or does not fit is refused before all else."""

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.quantize.placing import check
from targets import get_target
from targets.hexagon.executorch import installed_sdk, require_sdk, wanted_sdk

pytest.importorskip("executorch")

HEXAGON = get_target("hexagon-executorch")


def sdk(folder: Path, version: str, *, described: bool = True) -> Path:
    """A folder that looks like an SDK."""
    libraries = folder / "lib" / "x86_64-linux-clang"
    libraries.mkdir(parents=True)
    (libraries / "libQnnSystem.so").write_bytes(f"...v{version}.250101...".encode())
    if described:
        (folder / "sdk.yaml").write_text(f"name: qairt\nversion: {version}\n")
    return folder


def test_without_an_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    with pytest.raises(UsageError, match=rf"built for QAIRT {wanted_sdk()}.*is not set: install"):
        require_sdk()
    (tmp_path / "model.pte").write_bytes(b"any")
    with pytest.raises(UsageError, match="QNN_SDK_ROOT is not set"):
        check(HEXAGON, tmp_path / "model.pte", "SM8650")


@pytest.mark.parametrize("described", [True, False])
def test_another_version_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: bool
) -> None:
    root = sdk(tmp_path, "2.51.0", described=described)
    monkeypatch.setenv("QNN_SDK_ROOT", str(root))
    with pytest.raises(UsageError) as raised:
        require_sdk()
    for said in (wanted_sdk(), "is 2.51.0", "install the QAIRT SDK", "hexagon-litert needs none"):
        assert said in str(raised.value)


def test_one_that_fits_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = sdk(tmp_path, wanted_sdk())
    monkeypatch.setenv("QNN_SDK_ROOT", str(root))
    assert require_sdk() == root
    assert installed_sdk(root) == wanted_sdk()


def test_a_folder_that_is_no_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match=r"no QAIRT SDK: .*libQnnSystem\.so is missing"):
        require_sdk()
