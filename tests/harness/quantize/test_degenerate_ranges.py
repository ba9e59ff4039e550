"""Masks, dead layers and dead channels, lowered by the real converters and run."""

from pathlib import Path

import numpy as np
import pytest

from harness.artifact import Artifact, from_device, to_device
from harness.emulator.formats.model_file import read_model
from harness.errors import ModelError
from harness.host.cache import Cache
from harness.quantize.lower import lower
from harness.quantize.trial import run_executorch, run_litert
from harness.recipe import RECIPES
from harness.sources.models import open_model
from tests.harness.quantize.targets import EXECUTORCH, LITERT

pytestmark = pytest.mark.slow

NETS = '''
import torch
from torch import nn

class Masked(nn.Module):
    """Three ways to mask: filled with -inf, a product with -1e9, an input that holds -inf."""

    def __init__(self):
        super().__init__()
        self.qk = nn.Linear(8, 16)

    def forward(self, x, kept, added):
        q, k = self.qk(x).chunk(2, -1)
        scores = q @ k.transpose(1, 2)
        causal = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
        filled = scores.masked_fill(causal, float("-inf")).softmax(-1)
        product = (scores + (1 - kept)[:, None, :] * -1e9).softmax(-1)
        return filled, product, (scores + added).softmax(-1)

class Dead(nn.Module):
    """A dead layer, a channel of zeros with a bias, and a bias beside almost no weight."""

    def __init__(self):
        super().__init__()
        self.dead, self.after = nn.Linear(8, 6), nn.Linear(6, 8)
        self.zeros = nn.Linear(8, 4)
        with torch.no_grad():
            self.dead.bias.fill_(-100.0)
            self.zeros.weight[1] = 0
            self.zeros.weight[2] *= 1e-9
            self.zeros.bias[1:3] = torch.tensor([2.0, 3.0])

    def forward(self, x):
        return self.zeros(self.after(self.dead(x).relu()) + x)

class Recurrent(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3) if head else nn.Identity()

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])

def masked():
    torch.manual_seed(0)
    return Masked(), (torch.zeros(1, 5, 8), torch.ones(1, 5), torch.zeros(1, 5, 5))

def dead():
    torch.manual_seed(0)
    return Dead(), (torch.zeros(1, 8),)

def gru():
    torch.manual_seed(0)
    return Recurrent(False), (torch.zeros(1, 3, 4),)

def gru_head():
    torch.manual_seed(0)
    return Recurrent(True), (torch.zeros(1, 3, 4),)
'''


def net(folder: Path, name: str) -> str:
    path = folder / "nets.py"
    path.write_text(NETS)
    return f"{path}:{name}"


def outputs(artifact: Artifact, *samples: np.ndarray) -> list[np.ndarray]:
    """Each output of the first sample, as floats."""
    manifest = artifact.manifest
    invoke = run_litert if manifest.runtime == "litert" else run_executorch
    given = [to_device(spec, x[:1]) for spec, x in zip(manifest.inputs, samples, strict=True)]
    made = invoke(artifact.path, given)
    return [from_device(spec, x) for spec, x in zip(manifest.outputs, made, strict=True)]


@pytest.mark.parametrize("target", [LITERT, EXECUTORCH])
def test_masked_positions_get_nothing_and_the_others_keep_theirs(
    target: object, tmp_path: Path, cache: Cache
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 5, 8)).astype(np.float32)
    kept = np.ones((12, 5), np.float32)
    kept[::2, 3:] = 0
    added = np.where(rng.random((12, 5, 5)) < 0.3, -np.inf, 0).astype(np.float32)
    added[:, :, 0] = 0
    model = open_model(net(tmp_path, "masked"))
    samples = (x, kept, added)
    chosen = LITERT if target is LITERT else EXECUTORCH
    exact = outputs(lower(LITERT, model, RECIPES["float"], samples, cache=cache), *samples)
    artifact = lower(chosen, model, RECIPES["static_wi8_ai8"], samples, cache=cache)
    assert not [one for one in artifact.manifest.findings if one.severity == "warn"]
    for wanted, got in zip(exact, outputs(artifact, *samples), strict=True):
        assert (wanted == 0).any()
        assert got[wanted == 0].max() <= 1 / 256
        assert np.abs(got - wanted).max() < 0.03


@pytest.mark.parametrize("recipe", ["static_wi8_ai8", "static_wi8_ai16"])
def test_dead_layers_and_channels_get_scales_that_work(
    recipe: str, tmp_path: Path, cache: Cache
) -> None:
    x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    model = open_model(net(tmp_path, "dead"))
    artifact = lower(LITERT, model, RECIPES[recipe], (x,), cache=cache)
    found = artifact.manifest.findings
    assert [(one.kind, one.where, one.severity) for one in found] == [
        ("dead-tensor", "dead", "note")
    ]
    for tensor in read_model(artifact.path).main.tensors:
        if tensor.quantization is not None and tensor.dtype == "int8":
            assert tensor.quantization.scales.min() > 1e-6
    (wanted,) = outputs(lower(LITERT, model, RECIPES["float"], (x,), cache=cache), x)
    (got,) = outputs(artifact, x)
    assert np.abs(got - wanted).max() < 0.05
    assert got[0, 1:3] == pytest.approx([2.0, 3.0], abs=0.02)


@pytest.mark.parametrize("head", [False, True])
def test_a_recipe_says_what_it_reached(head: bool, tmp_path: Path, cache: Cache) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3, 4)).astype(np.float32)
    model, recipe = open_model(net(tmp_path, "gru_head" if head else "gru")), "static_wi8_ai8"
    if not head:
        with pytest.raises(ModelError, match=r"quantized nothing .*gru .*recurrent layers; use"):
            lower(EXECUTORCH, model, RECIPES[recipe], (x,), cache=cache)
        return
    manifest = lower(EXECUTORCH, model, RECIPES[recipe], (x,), cache=cache).manifest
    reached = {one.name: one.reached for one in manifest.reached}
    assert reached == {"gru": "not", "head": "quantized"}
    assert any("1 of 2 layers quantized; not" in note for note in manifest.notes)
    assert [one.kind for one in manifest.findings] == ["recipe-not-reached"]
