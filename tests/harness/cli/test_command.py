"""The command as a whole: what hides its packages, how unexpected errors end, what it lists."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from tests.harness.cli.command import Edgefarm
from tests.harness.cli.conftest import Quantized


def test_a_folder_that_hides_a_package_is_named(
    edgefarm: Edgefarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def hidden(name: str) -> ModuleSpec | None:
        if name != "reports":
            return found(name)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / name)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    ended = edgefarm("targets")
    assert ended.code == 2
    assert f"'reports' was found in {tmp_path / 'reports'}" in ended.err


def test_a_defect_of_ours_is_one_line_and_a_file(
    edgefarm: Edgefarm, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("targets.all_targets", broken)
    ended = edgefarm("targets")
    assert ended.code == 3
    [log] = (own_home / "crashes").iterdir()
    assert str(log) in "".join(ended.err.split())
    assert "planted" in log.read_text()


def test_a_vendors_profile_has_no_entries_to_show(edgefarm: Edgefarm) -> None:
    ended = edgefarm("profiles", "show", "htp@SM8650")
    assert ended.code == 2
    assert "the vendor's own emulator computes it" in ended.err


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
