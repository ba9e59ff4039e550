"""What `lower` does about lowerings that crash or make something that does not run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.errors import ModelError
from harness.host.cache import Cache
from harness.model import Model, ModelInput
from harness.quantize.failures import explanation as diagnosis
from harness.quantize.lower import lower
from harness.recipe import RECIPES
from tests.harness.quantize.targets import target

MODEL = Model("net.py:net", "/net.py:net", "0" * 64, (ModelInput((1, 2), "float32"),))
SAMPLES = (np.zeros((3, 2), np.float32),)

LOWERINGS = """
import ctypes
from harness.artifact import Artifact, Manifest, TensorSpec, save_manifest, sha256_file

def crash(request, progress):
    (request.folder / "half").write_text("")
    ctypes.string_at(0)

def no_sort(request, progress):
    raise ValueError("Didn't find op for builtin opcode 'STABLEHLO_SORT' version '1'.")

def strange(request, progress):
    raise ValueError("never seen before: " + "word " * 60 + "and the end of it\\nsecond line")

def junk(request, progress):
    path = request.folder / "model.tflite"
    path.write_bytes(b"junk")
    specs = (TensorSpec("x", (1, 2), "float32"),)
    manifest = Manifest(
        sha256_file(path), 4, "litert", request.target, request.recipe.name,
        request.model.reference, specs, specs,
    )
    artifact = Artifact(path, manifest)
    save_manifest(artifact)
    return artifact
"""

NET = """import torch

class Rank(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        # the line that cannot be converted
        return torch.sort(y)[0]

class Outer(torch.nn.Module):
    def forward(self, x):
        if not hasattr(self, "inner"):
            return torch.log(x - 5)
        return self.inner(x)

def ranked():
    net = Outer()
    net.inner = Rank()
    return net, (torch.ones(1, 2),)

def wild():
    return Outer(), (torch.ones(1, 2),)
"""


@pytest.fixture
def lowerings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "bad_lowerings.py").write_text(LOWERINGS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "logs"))
    import bad_lowerings  # type: ignore[import-not-found]

    yield bad_lowerings
    del sys.modules["bad_lowerings"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", r"net\.py:net, recipe float, lowering for bad: .* SIGSEGV"),
        ("junk", r"net\.py:net, recipe float: the lowered model does not run: ValueError"),
    ],
)
def test_it_is_named_and_nothing_is_kept(
    lowerings: ModuleType, tmp_path: Path, name: str, message: str
) -> None:
    cache = Cache(tmp_path / "cache")
    bad = target("bad", getattr(lowerings, name), "litert")
    with pytest.raises(ModelError, match=message):
        lower(bad, MODEL, RECIPES["float"], SAMPLES, cache=cache)
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == []


@pytest.mark.slow
def test_a_failure_names_the_module_the_line_and_the_remedy(
    lowerings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known cause, one that a value explains, and an unknown one, whole."""
    monkeypatch.setattr(diagnosis, "failing_alone", lambda *_: "module inner (Rank), aten.mul")
    source = tmp_path / "net.py"
    source.write_text(NET)
    np.savez(tmp_path / "x.npz", in0=np.ones((3, 2), np.float32))
    cache = Cache(tmp_path / "cache")

    def failing(function: str, lowering: str) -> str:
        model = Model(function, f"{source}:{function}", function, MODEL.inputs)
        bad = target("bad", getattr(lowerings, lowering), "litert")
        with pytest.raises(ModelError) as error:
            lower(bad, model, RECIPES["float"], (np.ones((3, 2), np.float32),), cache=cache)
        return str(error.value)

    said = failing("ranked", "no_sort")
    assert "ranked: module inner (Rank), aten.sort at " in said
    assert f"{source}:7 in forward: LiteRT's runtime has no sort" in said
    assert "What to do: return the scores and sort outside of the model" in said
    log = said.rpartition("own words: ")[2]
    assert "STABLEHLO_SORT" in Path(log).read_text()

    said = failing("wild", "crash")
    assert "gives values that are not finite from the calibration samples: first in " in said
    assert f"aten.log at {source}:12 in forward" in said
    assert "SIGSEGV" in said

    said = failing("ranked", "strange")
    words = "never seen before: " + "word " * 60 + "and the end of it"
    assert f"ValueError: {words}, at {tmp_path}/bad_lowerings.py:" in said
    assert "traceback: " in said
    assert "may come from module inner (Rank), aten.mul, which does not convert by itself" in said
