"""The float model's outputs and tensors, through torch and through its own .tflite."""

from pathlib import Path

import numpy as np
import pytest

from harness.host.cache import Cache
from harness.model import Model
from harness.quantize.reference import float_outputs, float_tensors
from harness.sources.models import open_model

MODULE = '''
import torch

class Halves(torch.nn.Module):
    """Batch 2, image in, vector out."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))

def model():
    return Halves(), (torch.zeros(2, 3, 8, 8),)
'''


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "net.py").write_text(MODULE)
    return open_model(f"{tmp_path / 'net.py'}:model")


@pytest.mark.slow
def test_torch_and_the_converted_file_agree(model: Model, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    x = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)
    outputs = float_outputs(model, (x,), cache=cache)
    assert outputs is not None
    assert outputs[0].shape == (5, 4)

    tensors = float_tensors(model, (x[:4],), cache=cache)
    closest = min(
        float(np.abs(t - outputs[0][:4]).max()) for t in tensors.values() if t.shape == (4, 4)
    )
    assert closest < 1e-5
    assert len(tensors) > 2

    again = float_outputs(model, (x,), cache=cache)
    assert again is not None
    np.testing.assert_array_equal(outputs[0], again[0])


def test_a_quantized_model_has_no_float_reference(tmp_path: Path) -> None:
    quantized = Model("m.tflite", "m.tflite", "0" * 64, (), quantized=True)
    assert float_outputs(quantized, (), cache=Cache(tmp_path)) is None
    assert float_tensors(quantized, (), cache=Cache(tmp_path)) == {}
