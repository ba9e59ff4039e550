"""What `lower` does about lowerings that crash or make something that does not run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.cache import Cache
from harness.errors import ModelError
from harness.model import Model, ModelInput
from harness.quantize import lower
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
