"""The contract of a target, held against every entry of the table, added ones included.

One small CNN is lowered for each; where a target cannot be had on this host (an SDK that is
missing) its refusal is what is tested.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.artifact import Artifact, to_device
from harness.device import Device
from harness.emulated import Emulators
from harness.emulator.formats.model_file import read_model
from harness.emulator.profiles import all_profiles
from harness.errors import ModelError, RuntimeMissing, UsageError
from harness.host.cache import Cache
from harness.host.progress import no_progress
from harness.model import Model
from harness.prepare import compiler_for
from harness.quantize.lower import lower
from harness.quantize.placing import check
from harness.recipe import RECIPES
from harness.sources.models import open_model
from harness.target import Target
from targets import all_targets

TARGETS = all_targets()
"""Ours, and those of distributions that are installed beside us."""
WANTED_EXTRAS = {"hexagon-litert": ("onnx", "onnxruntime_qnn")}
NOT_HERE = {"hexagon-executorch": "QNN_SDK_ROOT"}
"""Targets that this host cannot lower for, and what their refusal names."""

NET = """
import torch
def model():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(8, 7))
    return net, (torch.zeros(1, 3, 12, 12),)
"""
SAMPLES = np.random.default_rng(0).normal(size=(6, 3, 12, 12)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lowered:
    """The small CNN, lowered for a target."""

    target: Target
    artifact: Artifact
    cache: Cache

    @property
    def soc(self) -> str | None:
        return self.target.socs[0] if self.target.socs else None


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "net.py").write_text(NET)
    return folder


@pytest.fixture(scope="module")
def network(workshop: Path) -> Model:
    return open_model(f"{workshop / 'net.py'}:model")


@pytest.fixture(autouse=True)
def as_if_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_ACCEPT_QUALCOMM_LICENSE", "1")
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)


@pytest.fixture(params=[name for name in TARGETS if name not in NOT_HERE])
def lowered(request: pytest.FixtureRequest, workshop: Path, network: Model) -> Lowered:
    target = TARGETS[request.param]
    for module in WANTED_EXTRAS.get(target.name, ()):
        pytest.importorskip(module)
    cache = Cache(workshop / "cache")
    recipe = RECIPES["static_wi8_ai8"]
    return Lowered(target, lower(target, network, recipe, (SAMPLES,), cache=cache), cache)


@pytest.mark.slow
def test_a_small_cnn_is_lowered_placed_and_emulated(lowered: Lowered) -> None:
    target, artifact = lowered.target, lowered.artifact
    assert artifact.path.suffix == target.suffix
    assert (artifact.manifest.target, artifact.manifest.runtime) == (target.name, target.runtime)
    assert artifact.manifest.tool_versions
    [given] = artifact.manifest.inputs
    assert given.dtype == "int8"

    report = check(target, artifact.path, lowered.soc)
    assert [one.node for one in report.placement] == list(range(len(report.placement)))
    assert report.placement
    assert all(one.op and one.why for one in report.placement)
    assert not report.impossible
    assert set(report.left) <= {one.node for one in report.placement}
    if target.suffix == ".tflite":
        nodes = read_model(artifact.path).main.nodes
        assert [one.op for one in report.placement] == [node.op for node in nodes]

    if target.profile_without_device(lowered.soc) is None:
        return
    inputs = [to_device(given, SAMPLES)]
    compiler = compiler_for(target, lowered.cache, no_progress)
    done = Emulators(target, artifact, inputs, compiler).run(lowered.soc)
    for spec, x in zip(artifact.manifest.outputs, done.emulated.outputs, strict=True):
        assert x is not None
        assert (x.shape, x.dtype.name) == ((len(SAMPLES), *spec.shape[1:]), spec.dtype)
    assert done.by
    assert done.emulated.exactness.verdict == "unknown"
    assert "nothing ran on a device" in done.emulated.exactness.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_HERE)
def test_what_is_missing_on_this_host_is_named(name: str, workshop: Path, network: Model) -> None:
    target = TARGETS[name]
    pytest.importorskip("executorch")
    (workshop / f"model{target.suffix}").write_bytes(b"anything")
    with pytest.raises(UsageError, match=NOT_HERE[name]):
        check(target, workshop / f"model{target.suffix}", target.socs[0])
    cache, recipe = Cache(workshop / "cache"), RECIPES[target.recipes[0]]
    with pytest.raises(UsageError, match=NOT_HERE[name]):
        lower(target, network, recipe, (SAMPLES,), soc=target.socs[0], cache=cache)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_runner_has_a_command(target: Target) -> None:
    tags = ("qairt=/opt/qairt",)
    device = Device("unit", "ssh", (target.name,), tags=tags, python="/usr/bin/python3")
    argv = target.runner.argv(device, ("/store/runner", "/store/more"), "/jobs/1")
    assert "/store/runner" in argv
    assert argv[-1] == "/jobs/1"
    assert all(path.is_file() for path in target.runner.files)
    if target.runner.name == "python":
        bare = Device("unit", "ssh", (target.name,), python=None)
        with pytest.raises(RuntimeMissing, match="needs Python"):
            target.runner.argv(bare, ("/store/runner", "/store/more"), "/jobs/1")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_refusals(target: Target, tmp_path: Path) -> None:
    soc = target.socs[0] if target.socs else None
    wrong = tmp_path / "model.bin"
    wrong.write_bytes(b"anything")
    with pytest.raises(UsageError, match=rf"runs \{target.suffix} files"):
        check(target, wrong, soc)
    broken = tmp_path / f"model{target.suffix}"
    broken.write_bytes(b"\x00" * 64)
    with pytest.raises((ModelError, UsageError)):
        check(target, broken, soc)
    with pytest.raises(UsageError, match="--soc"):
        check(target, broken, "SM0000")
    if target.socs:
        with pytest.raises(UsageError, match=f"needs a chip: --soc {target.socs[0]}"):
            check(target, broken, None)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_it_says_of_itself(target: Target) -> None:
    assert set(target.recipes) <= set(RECIPES)
    assert target.summary
    assert target.evidence
    profile = target.profile_without_device(target.socs[0] if target.socs else None)
    vendor = target.vendor is not None and profile is not None and target.vendor.has(profile)
    assert profile is None or vendor or profile in all_profiles()
