"""Layers with schemes of their own: what is stored in the file, and what a rule may not say."""

from pathlib import Path

import numpy as np
import pytest

from harness.artifact import Artifact
from harness.emulator.formats.model_file import read_model
from harness.errors import ModelError, UsageError
from harness.host.cache import Cache
from harness.quantize.checks import check_listed
from harness.quantize.lower import lower
from harness.recipe import load_recipe
from harness.sources.models import open_model
from targets import get_target

NET = """
import torch

class Block(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.act = torch.nn.ReLU6()
    def forward(self, x):
        return self.act(self.norm(self.conv(x)))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.Sequential(Block(3), Block(8))
        self.depthwise = torch.nn.Conv2d(8, 8, 3, groups=8)
        self.head = torch.nn.Linear(8, 4)
    def forward(self, x):
        x = torch.relu(self.depthwise(self.blocks(x)))
        return self.head(x.mean((2, 3)))

def net(): return Net().eval(), (torch.zeros(1, 3, 8, 8),)
"""
SAMPLES = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ruled") / "net.py"
    path.write_text(NET)
    return f"{path}:net"


def lowered(reference: str, target: str, recipe: str, cache: Cache) -> Artifact:
    model = open_model(reference)
    return lower(get_target(target), model, load_recipe(recipe), (SAMPLES,), cache=cache)


def weights_of(made: Artifact) -> dict[str, str]:
    """The type that each layer's weights are stored in, by the shape of the weights."""
    return {
        f"{node.op} {tensor.shape}": tensor.dtype
        for node in read_model(made.path).main.nodes
        for tensor in (read_model(made.path).main.tensors[i] for i in node.inputs if i >= 0)
        if tensor.data is not None and len(tensor.shape) in {2, 4}
    }


@pytest.mark.slow
def test_the_file_holds_what_the_rules_say_on_litert(reference: str, cache: Cache) -> None:
    recipe = (
        "static_wi8_ai8 + bits(ops='conv linear', weights=4) "
        "+ bits(names='blocks.0', weights=8) + keep_float(names='depthwise')"
    )
    made = lowered(reference, "host-litert", recipe, cache)
    assert weights_of(made) == {
        "CONV_2D (8, 3, 3, 3)": "int8",
        "CONV_2D (8, 3, 3, 8)": "int4",
        "DEPTHWISE_CONV_2D (1, 3, 3, 8)": "float32",
        "FULLY_CONNECTED (4, 8)": "int4",
    }
    reached = {layer.op: (layer.reached, layer.why) for layer in made.manifest.reached}
    assert reached["DEPTHWISE_CONV_2D"] == ("not", "the recipe leaves it in float")
    assert reached["FULLY_CONNECTED"] == ("quantized", "")


@pytest.mark.slow
def test_the_file_holds_what_the_rules_say_on_executorch(reference: str, cache: Cache) -> None:
    recipe = "static_wi8_ai8 + keep_float(names='blocks.1 head')"
    made = lowered(reference, "host-executorch", recipe, cache)
    reached = {layer.name: (layer.reached, layer.why) for layer in made.manifest.reached}
    left = ("not", "the recipe leaves it in float")
    assert reached == {
        "blocks.0.conv": ("quantized", ""),
        "blocks.1.conv": left,
        "depthwise": ("quantized", ""),
        "head": left,
    }
    with pytest.raises(ModelError, match=r"takes no layer: names stem; the layers: .*blocks.0.con"):
        lowered(reference, "host-executorch", "static_wi8_ai8 + keep_float(names='stem')", cache)


@pytest.mark.slow
def test_only_a_named_layer_can_be_quantized(reference: str, cache: Cache, tmp_path: Path) -> None:
    scheme = '{"mode": "static", "weight_bits": 8, "activation_bits": 8}'
    path = tmp_path / "head.json"
    path.write_text(f'{{"mode": "float", "rules": [{{"names": "head", "scheme": {scheme}}}]}}')
    made = lowered(reference, "host-litert", str(path), cache)
    kinds = {kind.split()[0]: dtype for kind, dtype in weights_of(made).items()}
    assert kinds == {
        "CONV_2D": "float32",
        "DEPTHWISE_CONV_2D": "float32",
        "FULLY_CONNECTED": "int8",
    }


@pytest.mark.parametrize(
    ("target", "recipe", "said"),
    [
        ("host-executorch", "static_wi8_ai8 + bits(ops='conv', weights=4)", "all layers have one"),
        ("edge-tpu", "static_wi8_ai8 + bits(ops='conv', weights=4)", "weight_bits 4; it takes 8"),
        ("host-litert", "dynamic_wi8_afp32 + bits(ops='conv', activations=16)", "mode 'dynamic'"),
        ("host-litert", "static_wi8_ai8 + bits(weights=4)", "names and ops are empty"),
        ("host-litert", "static_wi8_ai8 + bits(ops='conv')", "give weights or activations"),
        ("host-litert", "float + keep_float(names='head')", "the recipe leaves all in float"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused(target: str, recipe: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_listed(get_target(target), load_recipe(recipe))
