"""A target from outside of the tree: installed beside edgefarm, it needs no edit of ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = """
[edgefarm.targets]
toy = toy_chip:TOY
[edgefarm.profiles]
toy-chip = toy_chip:PROFILE
[edgefarm.formats]
toy = toy_chip:FORMAT
"""
NET = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x.flatten(1)[:, :5])
def model():
    return Net(), (torch.zeros(1, 3, 4),)
"""
BENCH = """
[devices.bench]
transport = "local"
targets = ["toy"]
python = {python!r}
workdir = {workdir!r}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed distribution, a model, data, and a home with a device."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(Path(__file__).with_name("toy_chip"), folder / "site/toy_chip")
    info = folder / "site/toy_chip-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-chip\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, size=(9, 3, 4)).astype(np.float32)
    samples[:, 0, 0] = 1.0  # so that calibration sees the whole range
    np.savez(folder / "data.npz", in0=samples)
    (folder / "home").mkdir()
    bench = BENCH.format(python=sys.executable, workdir=str(folder / "bench"))
    (folder / "home/farm.toml").write_text(bench)
    return folder


def started(lab: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {
        "PYTHONPATH": f"{lab / 'site'}{os.pathsep}{ROOT}",
        "EDGEFARM_HOME": str(lab / "home"),
        "EDGEFARM_CACHE": str(lab / "cache"),
    }
    argv = [sys.executable, "-m", module, *words]
    return subprocess.run(argv, env=env, cwd=lab, capture_output=True, text=True, check=False)


def edgefarm(lab: Path, *words: str, status: int = 0) -> str:
    done = started(lab, "harness.cli", *words)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr
    return done.stdout


def test_it_is_listed(lab: Path) -> None:
    [toy] = [x for x in json.loads(edgefarm(lab, "targets", "--json")) if x["target"] == "toy"]
    assert (toy["runtime"], toy["machine"]) == ("toy-runtime", "any")
    assert "toy-chip" in {x["profile"] for x in json.loads(edgefarm(lab, "profiles", "--json"))}
    [moves, largest] = json.loads(edgefarm(lab, "profiles", "show", "toy-chip", "--json"))
    assert (moves["semantics"], largest["ops"]) == ("move", ["MAXIMUM"])


@pytest.mark.slow
def test_check_and_run_and_verify(lab: Path) -> None:
    common = ("net.py:model", "--recipe", "static_wi8_ai8", "--data", "data.npz", "--target", "toy")
    placed = json.loads(edgefarm(lab, "check", *common, "--json"))
    assert [one["op"] for one in placed["placement"]] == ["RESHAPE", "SLICE", "MAXIMUM"]
    assert {one["where"] for one in placed["placement"]} == {"toy-core"}

    made = lab / "made"
    edgefarm(lab, "quantize", *common, "--out", str(made))
    [file] = made.glob("*.toy")
    edgefarm(lab, "check", str(file), "--target", "toy")

    emulated, ran = (
        json.loads(edgefarm(lab, "run", *common, *device, "--quick", "--json"))
        for device in ((), ("--device", "bench"))
    )
    assert emulated["emulated_by"].startswith("toy-chip (exact")
    assert ran["exactness"]["verdict"] == "exact"
    assert ran["exactness"]["profile"] == "toy-chip"
    assert len(ran["exactness"]["intermediates"]) == 2

    again = edgefarm(
        lab, "run", str(file), "--data", "data.npz", "--target", "toy",
        "--device", "bench", "--quick", "--json",
    )  # fmt: skip
    assert json.loads(again)["exactness"]["verdict"] == "exact"
    verified = json.loads(edgefarm(lab, "verify", str(file), "--device", "bench", "--json"))
    assert verified["profile"] == "toy-chip"


@pytest.mark.slow
def test_it_passes_the_contract_of_targets(lab: Path) -> None:
    suite = str(Path(__file__).with_name("test_contract.py"))
    words = ("-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), suite, "-k", "toy")
    done = started(lab, "pytest", *words)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "4 passed" in done.stdout


def test_without_it_its_names_are_unknown(lab: Path) -> None:
    shutil.copytree(lab / "home", lab / "other/home")
    (lab / "other/model.toy").write_bytes(b"TOYCHIP1{}")
    said = started(lab / "other", "harness.cli", "check", "model.toy", "--target", "toy")
    assert (said.returncode, "no such target" in said.stderr) == (2, True)
