"""Which tensors of a `.pte` are which of the model's: by their float values, after lowering."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.artifact import to_device
from harness.emulator.formats.model_file import read_model
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.host.cache import Cache
from harness.judge.traced import real
from harness.quantize.executorch.origins import aligned, run_every_node
from harness.quantize.lower import lower
from harness.quantize.reference import float_layers
from harness.recipe import RECIPES
from harness.sources.models import open_model
from tests.harness.quantize.targets import EXECUTORCH

MODULE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.head = nn.Linear(8, 5)
    def forward(self, x):
        y = torch.nn.functional.silu(self.blocks(self.stem(x)))
        return self.head(y.mean((2, 3))).softmax(-1)

def model():
    return Net(), (torch.zeros(2, 3, 16, 16),)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", ["static_wi8_ai8", "dynamic_wi8_afp32"])
def test_every_layer_of_a_residual_net_is_found(tmp_path: Path, cache: Cache, recipe: str) -> None:
    """Had two tensors of one shape been confused, their values would differ by far more than
    quantization does; the layout inside (channels last) is turned, too."""
    (tmp_path / "net.py").write_text(MODULE)
    model = open_model(f"{tmp_path / 'net.py'}:model")
    x = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    artifact = lower(EXECUTORCH, model, RECIPES[recipe], (x,), cache=cache)
    layers = artifact.manifest.origins
    assert {
        "stem.1", "stem.2", "blocks.0", "blocks.0.bn2", "blocks.1", "blocks.1.bn2", "head",
    } <= {layer.module for layer in layers.values()}  # fmt: skip
    assert {"silu", "softmax"} <= {layer.node for layer in layers.values()}

    graph = read_model(artifact.path).main
    given = to_device(artifact.manifest.inputs[0], x)
    traced = emulate(graph, get_profile("executorch-xnnpack-x86"), [given], all_tensors=True)
    tensors = {graph.tensors[i].name: real(graph.tensors[i], y) for i, y in traced.tensors.items()}
    found = float_layers(model, (x,), layers, tensors, cache=cache)
    assert found.keys() == layers.keys()
    for name, expected in found.items():
        noise = np.linalg.norm(expected - tensors[name]) / np.linalg.norm(expected)
        assert noise < 0.1, (name, layers[name])


def test_layouts_are_turned_and_others_left_out() -> None:
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(aligned(x, np.zeros((1, 2, 3, 4))), x)
    np.testing.assert_array_equal(aligned(x, np.zeros((1, 3, 4, 2))), np.moveaxis(x, 1, -1))
    assert aligned(x, np.zeros((1, 4, 3, 2))) is None
    assert aligned(x, np.zeros((1, 2, 3, 5))) is None
    line = np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(aligned(line, np.zeros((1, 1, 3, 2))), [[line[0].T]])


def test_where_both_layouts_fit_the_more_alike_is_taken() -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 3, 3))
    turned = np.moveaxis(x, 1, -1)
    np.testing.assert_array_equal(aligned(x, x + 0.1), x)
    np.testing.assert_array_equal(aligned(x, turned + 0.1), turned)


def test_of_nodes_with_one_origin_the_last_is_kept() -> None:
    """A decomposition makes several nodes of one, and not all of one shape."""
    graph = torch.fx.symbolic_trace(lambda x: (x + 1).sum(0) * 2)
    source = SimpleNamespace(name="sum_and_double", from_node=[])
    for node in graph.graph.nodes:
        if node.op in {"call_function", "call_method"}:
            node.meta["from_node"] = [source]
    values = run_every_node(graph, [(torch.ones(3, 2),), (torch.zeros(3, 2),)])
    np.testing.assert_array_equal(values["sum_and_double"], [12, 12, 6, 6])
