"""The command as a whole: what hides its packages, how unexpected errors end, what it lists."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.cli import catalog
from tests.harness.cli.command import Edgefarm
from tests.harness.cli.conftest import Quantized

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_that_hides_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("")
    ended = subprocess.run(
        [sys.executable, "-m", "harness.cli", "targets"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert f"'reports' was found in {tmp_path / 'reports'}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_defect_of_ours_is_one_line_and_a_file(
    edgefarm: Edgefarm, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(catalog, "all_targets", broken)
    ended = edgefarm("targets")
    assert ended.code == 3
    [log] = (own_home / "crashes").iterdir()
    assert str(log) in "".join(ended.err.split())
    assert "planted" in log.read_text()


def test_errors_are_json_for_machines(edgefarm: Edgefarm) -> None:
    ended = edgefarm("profiles", "show", "abacus", "--json")
    assert ended.code == 2
    assert ended.json["error"]["kind"] == "UsageError"


def test_emulate_and_compare_speak_of_every_tensor(
    edgefarm: Edgefarm, quantized: Quantized
) -> None:
    asked = ("emulate", quantized.file, "--profile", "litert-ref", "--inputs", quantized.data)
    said = edgefarm(*asked, "--out", "a.npz", "--all-tensors", "--json")
    assert said.code == 0
    assert said.json["promises"] == ["exact"]
    with np.load("a.npz") as found:
        assert {"out0"} < set(found)
        assert len(found["out0"]) == len(quantized.inputs)
        changed = dict(found)
    changed["out0"] = changed["out0"] ^ 1
    np.savez("b.npz", **changed)
    assert edgefarm("compare", "a.npz", "a.npz").code == 0
    different = edgefarm("compare", "a.npz", "b.npz", "--json")
    assert different.code == 1
    by_name = {one["name"]: one for one in different.json}
    assert by_name["out0"]["differing"] == changed["out0"].size
