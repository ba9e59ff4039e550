"""Rounding that takes the same from every weight shifts the mean of what a layer gives."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelError
from harness.host.cache import Cache
from harness.quantize.techniques.bias_correction import Correction, correct
from tests.harness.quantize.techniques.measuring import RUNTIMES, draft_of, ratios

NET = '''
import torch
from torch import nn

def rounding_down(layer):
    """One weight of each channel sets the step; all others lie 0.45 steps above an integer."""
    steps = torch.randint(-3, 4, layer.weight.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.weight.copy_((steps + 0.45) / 127)
        layer.weight.flatten(1)[:, 0] = 1.0
    return layer

def shifted():
    norm = nn.BatchNorm2d(16)
    norm.running_var.fill_(4.0)
    return nn.Sequential(
        rounding_down(nn.Conv2d(16, 16, 3, bias=False)), norm, nn.ReLU(),
        rounding_down(nn.Conv2d(16, 8, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        rounding_down(nn.Linear(8, 8, bias=False)),
    ), (torch.zeros(1, 16, 6, 6),)

def no_bias():
    return rounding_down(nn.Linear(64, 8, bias=False)), (torch.zeros(1, 64),)

def table():
    return nn.Sequential(nn.Flatten(), nn.ReLU()), (torch.zeros(1, 4),)
'''


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(NET)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_the_shift_is_taken_off(nets: Path, cache: Cache, target: str) -> None:
    noise = np.random.default_rng(0).normal(size=(8, 16, 6, 6)).astype(np.float32)
    samples = 1 + np.float32(0.05) * noise
    recipes = ["static_wi8_ai8", "static_wi8_ai8 + bias_correction"]
    plain, better = ratios(f"{nets}:shifted", target, recipes, samples, cache)
    assert plain < 25, (plain, better)
    assert better > plain + 8, (plain, better)


@pytest.mark.parametrize("recipe", ["static_wi8_ai8", "static_wi8_ai8_per_tensor"])
def test_one_layer_is_corrected_by_the_closed_form(nets: Path, recipe: str) -> None:
    """The mean error is what the weights lost, times the mean of what the layer takes."""
    x = np.random.default_rng(0).normal(1, 1, (5, 1, 64)).astype(np.float32)
    draft = draft_of(nets, "no_bias", recipe, *x)
    weight = draft.module.model.weight.detach().numpy().astype(np.float64)
    correct(draft, Correction())
    step = np.abs(weight).max(1, keepdims=True) / 127
    lost = weight - np.round(weight / step) * step
    expected = lost @ x.astype(np.float64).mean((0, 1))
    got = draft.module.model.bias.detach().numpy()
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_a_model_without_such_layers_is_refused(nets: Path) -> None:
    draft = draft_of(nets, "table", "static_wi8_ai8", np.zeros((1, 4), np.float32))
    with pytest.raises(ModelError, match="finds no convolution or fully connected layer"):
        correct(draft, Correction())
