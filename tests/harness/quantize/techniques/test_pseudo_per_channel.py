"""One step for a tensor whose channels are far apart, behind ReLU6 that no plain factor passes."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelError
from harness.host.cache import Cache
from harness.quantize.float_model.groups import scale_groups
from harness.quantize.float_model.layers import exported
from harness.quantize.techniques.pseudo_per_channel import PseudoPerChannel, rescale
from tests.harness.quantize.techniques.measuring import RUNTIMES, draft_of, ratios

NET = '''
import torch
from torch import nn

class Chain(nn.Module):
    """Depthwise behind ReLU6; channel 0 reaches the bound, the others are small, the smaller the
    larger their next weights."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.three = nn.Conv2d(8, 8, 1)
        self.four = nn.Linear(8, 8)
        apart = torch.logspace(0, -2, 8)
        with torch.no_grad():
            self.one.weight.mul_(2 * apart[:, None, None, None])
            self.one.bias.copy_(apart * 2)
            self.one.bias[0] = 8.0
            self.two.weight.abs_()
            self.two.bias.copy_(apart)
            self.three.weight.div_(apart[None, :, None, None])
    def forward(self, x):
        clamp = nn.functional.relu6
        y = clamp(self.three(clamp(self.two(clamp(self.one(x))))))
        return self.four(y.mean((2, 3)))

class Residual(nn.Module):
    """A sum: all that makes and takes it is scaled together."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.three = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
    def forward(self, x):
        y = self.one(x)
        return self.three(y + self.two(y.reshape(-1, 2, 3).reshape(-1, 6)))

class Heads(nn.Module):
    """What attention weighs is scaled per channel, through heads; queries and keys are not."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.norm = nn.LayerNorm(8)
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
    def forward(self, x):
        x = self.norm(x)
        q, k, v = (f(x).view(1, 5, 2, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        weighed = torch.softmax(q @ k.transpose(2, 3), -1) @ v
        return self.out(weighed.transpose(1, 2).reshape(1, 5, 8))

def chain(): return Chain(), (torch.zeros(1, 3, 8, 8),)
def residual(): return Residual(), (torch.zeros(1, 4),)
def heads(): return Heads(), (torch.zeros(1, 5, 8),)
def single(): return nn.Linear(4, 4), (torch.zeros(1, 4),)
'''


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(NET)
    return path


def test_what_the_model_gives_stays_and_the_bound_is_minded(nets: Path) -> None:
    """The judge is the float network. Channel 0, which is cut off at 6, keeps its scale."""
    import torch

    samples = np.random.default_rng(0).normal(size=(8, 1, 3, 8, 8)).astype(np.float32)
    draft = draft_of(nets, "chain", "static_wi8_ai8_per_tensor", *samples)
    x = torch.from_numpy(samples[:, 0])
    module = draft.module.model
    before, first = module(x).detach(), module.one.weight.detach().clone()
    span = module.three.weight.detach().abs().amax((0, 2, 3))
    rescale(draft, PseudoPerChannel())
    assert torch.allclose(module(x), before, rtol=1e-3, atol=1e-4)
    assert torch.equal(module.one.weight[0], first[0])
    factors = (module.one.weight / first).flatten(1).mean(1)
    assert factors[1:].max() > 2
    now = module.three.weight.detach().abs().amax((0, 2, 3))
    assert now.max() / now.min() < 0.3 * span.max() / span.min()


@pytest.mark.parametrize(
    ("network", "shape", "found"),
    [
        ("residual", (1, 4), [({"one", "two"}, {"two", "three"})]),
        ("heads", (1, 5, 8), [(set(), {"q", "k", "v"}), ({"v"}, {"out"})]),
    ],
)
def test_groups_can_be_scaled_by_anything(
    nets: Path, network: str, shape: tuple[int, ...], found: list[tuple[set[str], set[str]]]
) -> None:
    import torch

    draft = draft_of(nets, network, "static_wi8_ai8")
    state = draft.module.state_dict()
    groups = scale_groups(exported(draft).graph, state)
    named = [
        tuple({x.weight.split(".")[-2] for x in side} for side in (one.makers, one.takers))
        for one in groups
    ]
    assert named == found
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = draft.module(x)[0].detach()
    with torch.no_grad():
        for one in groups:
            one.scale(state, torch.linspace(0.5, 4, one.size))
    assert torch.allclose(draft.module(x)[0], before, rtol=1e-4, atol=1e-5)


def test_a_single_layer_is_refused(nets: Path) -> None:
    draft = draft_of(nets, "single", "static_wi8_ai8", np.zeros((1, 1, 4), np.float32))
    with pytest.raises(ModelError, match="finds no two layers"):
        rescale(draft, PseudoPerChannel())


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_one_scale_serves_all_channels(
    nets: Path, cache: Cache, target: str, tmp_path: Path
) -> None:
    samples = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    recipe = tmp_path / "tensor.json"
    scheme = {"mode": "static", "weight_bits": 8, "activation_bits": 8}
    recipe.write_text(json.dumps({"scheme": {**scheme, "weight_granularity": "tensor"}}))
    recipes = [str(recipe), f"{recipe} + pseudo_per_channel"]
    plain, better = ratios(f"{nets}:chain", target, recipes, samples, cache)
    assert better > plain + 3, (plain, better)
