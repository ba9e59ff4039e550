"""Every op with weights of a float `.tflite` is known by its module, although the converter folds,
joins and renames. The judge is the module: its parameter has the values, and no other has."""

from typing import Any

import numpy as np
import pytest

from harness.emulator.formats.model_file import read_model
from harness.host.cache import Cache
from harness.host.progress import no_progress
from harness.quantize.litert.lowering import float_model
from harness.quantize.litert.reached import constant_weights, named_paths, path_of
from harness.sources.models import load_float32, open_model, parse_model

NET = """
import torch
from torch import nn

class Mixed(nn.Module):
    '''Same shapes side by side, modules in lists, a norm before and one behind, a layer used
    twice, a product with a parameter, a dead channel.'''
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.behind = nn.BatchNorm2d(8)
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(2)])
        self.depthwise = nn.ModuleDict({"a": nn.Conv2d(8, 8, 3, groups=8, padding=1)})
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.before = nn.LayerNorm(8)
        self.heads = nn.ModuleList([nn.ModuleDict({"q": nn.Linear(8, 8), "k": nn.Linear(8, 8)})])
        self.matrix = nn.Parameter(torch.randn(8, 6))
        with torch.no_grad():
            self.behind.weight.uniform_(0.5, 2)
            self.behind.running_var.uniform_(0.5, 2)
            self.before.weight.uniform_(0.5, 2)
            self.convs[0].weight[3] = 0
    def forward(self, x):
        x = torch.relu(self.behind(self.stem(x)))
        for conv in self.convs:
            x = torch.relu(conv(x))
        x = self.up(self.convs[0](self.depthwise["a"](x)))
        x = self.before(x.mean((2, 3)))
        head = self.heads[0]
        return torch.tanh(head["q"](x)) * head["k"](x) @ self.matrix

def mixed(): return Mixed().eval(), (torch.zeros(1, 3, 8, 8),)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("identity") / "net.py"
    path.write_text(NET)
    return f"{path}:mixed"


def found(reference: str, cache: Cache) -> list[tuple[str, str, Any]]:
    """Op, path and weights of every op with constant weights."""
    converted = float_model(open_model(reference), cache, no_progress)
    graph = read_model(converted.path).main
    return [
        (node.op, path_of(graph, node, converted.paths), weights)
        for node in graph.nodes
        if (weights := constant_weights(graph, node)) is not None and weights.ndim > 1
    ]


@pytest.mark.slow
def test_the_module_of_each_layer_is_found(net: str, cache: Cache) -> None:
    assert [(op, path) for op, path, _ in found(net, cache)] == [
        ("CONV_2D", "stem"),
        ("CONV_2D", "convs.0"),
        ("CONV_2D", "convs.1"),
        ("DEPTHWISE_CONV_2D", "depthwise.a"),
        ("CONV_2D", "convs.0"),
        ("TRANSPOSE_CONV", "up"),
        ("FULLY_CONNECTED", "heads.0.q"),
        ("FULLY_CONNECTED", "heads.0.k"),
        ("FULLY_CONNECTED", ""),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "layers"), [("zoo:digits-cnn", 7), ("zoo:efficientnet-lite0", 50)]
)
def test_the_zoo_is_known_layer_by_layer(reference: str, layers: int, cache: Cache) -> None:
    """The judge: the sorted sizes of each output channel, over their greatest, which neither layout
    nor a batch normalization changes."""
    module, _ = load_float32(parse_model(open_model(reference).resolved))
    parameters = dict(module.named_parameters())
    named = found(reference, cache)
    assert len(named) == layers
    assert len({path for _, path, _ in named}) == layers
    for op, path, weights in named:
        held = parameters[f"model.{path}.weight"].detach().numpy()
        rows = np.moveaxis(weights, -1, 0) if op == "DEPTHWISE_CONV_2D" else weights
        for x, y in zip(rows, held, strict=True):
            sizes = [np.sort(np.abs(one.ravel())) for one in (x, y)]
            if sizes[0][-1] > 0:
                np.testing.assert_allclose(
                    sizes[0] / sizes[0][-1], sizes[1] / sizes[1][-1], atol=1e-5
                )


@pytest.mark.slow
def test_names_alone_do_not_tell(net: str, cache: Cache) -> None:
    """Why values are looked at: were names enough, this file's code could go."""
    graph = read_model(float_model(open_model(net), cache, no_progress).path).main
    by_name = [next(named_paths(graph, node), "") for node in graph.nodes]
    assert "convs.1" not in by_name
