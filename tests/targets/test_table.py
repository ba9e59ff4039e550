"""The table of targets, and what other distributions add to it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.device import Device
from harness.emulator.profiles import PROFILES
from harness.errors import UsageError
from harness.protocol import Result
from harness.recipe import RECIPES
from targets import TARGETS, all_targets, get_target
from targets.executorch import executorch_profile
from targets.litert import litert_profile

BOARD = Device("board", "ssh", core="cortex-a76")
RAN = Result(
    runtime="ai_edge_litert",
    runtime_version="2.3.0",
    machine="x86_64",
    kernels="xnnpack",
    delegated=3,
)
OLD = {"runtime": "tflite_runtime", "runtime_version": "2.14.0", "machine": "aarch64"}


@pytest.mark.parametrize("name", TARGETS)
def test_every_entry_is_whole(name: str) -> None:
    target = get_target(name)
    assert target.name == name
    assert set(target.recipes) <= set(RECIPES)
    assert target.summary
    assert target.evidence
    assert all(path.is_file() for path in target.runner.files)


def test_an_unknown_target_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no such target; one of: .*host-litert"):
        get_target("tpu")


@pytest.mark.parametrize(
    ("changes", "profile"),
    [
        ({}, "litert-xnnpack-x86"),
        ({"delegated": None}, "litert-xnnpack-x86"),
        ({"delegated": 0}, "litert-builtin-x86"),
        ({"kernels": "builtin", "delegated": 0}, "litert-builtin-x86"),
        ({"kernels": "reference", "delegated": 0}, "litert-ref"),
        (
            {"kernels": "reference", "machine": "aarch64", "delegated": 0},
            "litert-ref-arm@cortex-a76",
        ),
        ({"machine": "aarch64", "delegated": 0}, "litert-builtin-arm@cortex-a76"),
        ({"machine": "aarch64"}, "litert-xnnpack-arm@cortex-a76"),
        ({"machine": "riscv64"}, None),
        ({"runtime_version": "9.9"}, None),
        ({**OLD, "delegated": 0}, "tflite-runtime-2.14-arm"),
        ({**OLD, "kernels": "builtin", "delegated": 0}, "tflite-runtime-2.14-arm"),
        ({**OLD, "kernels": "reference", "delegated": 0}, None),
        (OLD, None),
        ({**OLD, "delegated": 0, "machine": "x86_64"}, None),
        ({**OLD, "delegated": 0, "runtime_version": "2.13.0"}, None),
    ],
)
def test_the_profile_is_that_of_what_ran(changes: dict[str, object], profile: str | None) -> None:
    assert litert_profile(BOARD, RAN.model_copy(update=changes)) == profile


@pytest.mark.parametrize(
    ("changes", "profile"),
    [
        ({}, "executorch-xnnpack-x86"),
        ({"runtime_version": "1.5.1+cpu"}, "executorch-xnnpack-x86"),
        ({"cpu_features": ("sse4_1", "avx2", "fma")}, "executorch-xnnpack-x86"),
        ({"cpu_features": ("sse4_1", "avx")}, None),
        ({"runtime_version": "1.4.1"}, None),
        ({"runtime": "other"}, None),
        ({"machine": "riscv64"}, None),
    ],
)
def test_executorch_has_a_profile_for_what_was_measured(
    changes: dict[str, object], profile: str | None
) -> None:
    ran = RAN.model_copy(update={"runtime": "executorch", "runtime_version": "1.5.1", **changes})
    assert executorch_profile(BOARD, ran) == profile


def test_a_profile_of_the_core_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "litert-xnnpack-x86@cortex-a76", PROFILES["litert-xnnpack-x86"])
    assert litert_profile(BOARD, RAN) == "litert-xnnpack-x86@cortex-a76"
    assert litert_profile(replace(BOARD, core="cortex-a53"), RAN) == "litert-xnnpack-x86"


def install(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an installed distribution `lab` whose module `lab_targets` is `source`."""
    (folder / "lab_targets.py").write_text(source)
    info = folder / "lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgefarm.targets]\nmine = lab_targets:MINE\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "lab_targets", raising=False)


FROM_HOST = (
    "from dataclasses import replace\n"
    "from targets.host import HOST_LITERT\n"
    "MINE = replace(HOST_LITERT, name={name!r})\n"
)


def test_another_distribution_adds_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, FROM_HOST.format(name="lab-dsp"), monkeypatch)
    assert get_target("lab-dsp").name == "lab-dsp"
    assert list(all_targets()) == [*TARGETS, "lab-dsp"]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (FROM_HOST.format(name="host-litert"), "in use"),
        ("MINE = 3", "is a int, no Target"),
        ("import nothing_of_that_name", "cannot be loaded"),
    ],
)
def test_a_wrong_addition_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, named: str
) -> None:
    install(tmp_path, source, monkeypatch)
    with pytest.raises(UsageError, match=named) as raised:
        all_targets()
    assert "of lab" in str(raised.value)
    assert get_target("host-litert").name == "host-litert"
