"""Each technique on a network made so that the plain recipe fails, on both runtimes; and the
contract: what a step may be, and that one from outside the tree is one file."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import UsageError
from harness.host.cache import Cache
from harness.quantize import techniques
from harness.quantize.checks import check_listed
from harness.quantize.histograms import BINS
from harness.quantize.technique import Histogram
from harness.quantize.techniques.mse import LeastError
from harness.quantize.techniques.mse import choose as least_error
from harness.quantize.techniques.percentile import Percentile
from harness.quantize.techniques.percentile import choose as at_percentile
from harness.recipe import load_recipe
from harness.sources.models import open_model
from targets import get_target
from tests.harness.quantize.techniques.measuring import (
    RUNTIMES,
    Array,
    outputs,
    signal_to_noise,
)

NET = '''
import torch

class Outlier(torch.nn.Module):
    """One value in thousands drives the first layer's output a hundredfold."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.one = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.two = torch.nn.Conv2d(8, 4, 3, padding=1)
    def forward(self, x):
        return self.two(torch.relu(self.one(x)))

class Uneven(torch.nn.Module):
    """Channels whose weights are a thousandfold apart; what is small here is large in the next."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.one = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.two = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.three = torch.nn.Conv2d(8, 4, 1)
        apart = torch.logspace(-0.8, 0.8, 8)
        with torch.no_grad():
            self.norm.running_var.uniform_(0.5, 2.0)
            self.norm.weight.uniform_(0.5, 2.0)
            self.one.weight.mul_(apart[:, None, None, None])
            self.one.bias.mul_(apart)
            self.two.weight.div_(apart.flip(0)[:, None, None, None])
            self.two.bias.div_(apart.flip(0) * apart.flip(0))
            self.three.weight.mul_((apart.flip(0) / apart)[None, :, None, None])
    def forward(self, x):
        return self.three(torch.relu(self.two(torch.relu(self.norm(self.one(x))))))

class Clamped(Uneven):
    def forward(self, x):
        clamp = torch.nn.functional.relu6
        return self.three(clamp(self.two(clamp(self.norm(self.one(x))))))

def outlier(): return Outlier(), (torch.zeros(1, 1, 8, 8),)
def uneven(): return Uneven(), (torch.zeros(1, 3, 8, 8),)
def clamped(): return Clamped(), (torch.zeros(1, 3, 8, 8),)
'''

OUTSIDE = """
from harness.quantize.technique import Options, Technique

def halve(draft, options):
    for x in draft.module.parameters():
        x.data.mul_(0.5)

TECHNIQUE = Technique("halve", "graph", Options, halve, "halves all", "nobody")
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(NET)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_ranges_without_an_outlier_keep_the_resolution(
    nets: Path, cache: Cache, target: str
) -> None:
    model = open_model(f"{nets}:outlier")
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(16, 1, 8, 8)).astype(np.float32)
    calibration = samples.copy()
    calibration[0, 0, 0, 0] = 200.0
    given = (model, target)
    held = outputs(*given, "float", samples, cache, calibration=calibration)
    ratio = {
        steps: signal_to_noise(
            outputs(*given, f"static_wi8_ai8{steps}", samples, cache, calibration=calibration), held
        )
        for steps in ("", " + percentile(lower=0.2, upper=99.8)", " + mse")
    }
    plain, percentile, mse = ratio.values()
    assert plain < 22, ratio
    assert percentile > plain + 6, ratio
    assert mse >= plain, ratio


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_equalized_channels_share_one_scale(
    nets: Path, cache: Cache, target: str, tmp_path: Path
) -> None:
    model = open_model(f"{nets}:uneven")
    samples = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    recipe = tmp_path / "tensor.json"
    scheme = {"mode": "static", "weight_bits": 8, "activation_bits": 8}
    recipe.write_text(json.dumps({"scheme": {**scheme, "weight_granularity": "tensor"}}))
    step = "+ cross_layer_equalization(rounds=30)"
    given = (samples, cache)
    held = outputs(model, target, "float", *given, calibration=samples)
    plain = signal_to_noise(outputs(model, target, str(recipe), *given, calibration=samples), held)
    better = signal_to_noise(
        outputs(model, target, f"{recipe} {step}", *given, calibration=samples), held
    )
    assert better > plain + 6, (plain, better)


@pytest.mark.parametrize(("network", "changed"), [("uneven", True), ("clamped", False)])
def test_equalization_keeps_what_the_model_computes(network: str, changed: bool) -> None:
    """The judge is the network itself, and the closed form: both layers of a pair end with the
    same largest weight in each channel. ReLU6 lets no factor pass."""
    import torch

    from harness.quantize.technique import Draft
    from harness.quantize.techniques.cross_layer_equalization import Equalization, equalize

    scope: dict[str, Any] = {}
    exec(NET, scope)  # noqa: S102  this test's own text
    module, examples = scope[network]()
    module.eval()
    x = torch.randn(4, 3, 8, 8)
    before, weights = module(x), module.two.weight.detach().clone()
    equalize(Draft(module, examples, (), load_recipe("static_wi8_ai8")), Equalization())
    assert torch.allclose(module(x), before, rtol=1e-4, atol=1e-5)
    assert torch.equal(module.two.weight, weights) is not changed
    if changed:
        two = module.two.weight.abs().flatten(1).amax(1)
        three = module.three.weight.abs().amax((0, 2, 3))
        assert torch.allclose(two, three, rtol=1e-3)
        gain = module.norm.weight.abs() / (module.norm.running_var + module.norm.eps).sqrt()
        one = module.one.weight.abs().flatten(1).amax(1) * gain
        assert torch.allclose(one, two, rtol=1e-3)


def histogram(x: Array) -> Histogram:
    low, high = float(x.min()), float(x.max())
    return Histogram(low, high, np.histogram(x, BINS, (low, high))[0], 255)


def test_percentiles_are_those_of_numpy() -> None:
    x = np.random.default_rng(0).normal(size=100_000)
    low, high = at_percentile(histogram(x), Percentile(lower=1, upper=97.5))
    width = (x.max() - x.min()) / BINS
    assert abs(low - np.percentile(x, 1)) <= 2 * width
    assert abs(high - np.percentile(x, 97.5)) <= 2 * width
    whole = Percentile(lower=0, upper=100)
    assert at_percentile(histogram(x), whole) == (x.min(), x.max())


def test_the_least_error_is_less_than_that_of_the_whole_range() -> None:
    x = np.append(np.random.default_rng(0).normal(size=100_000), 40.0)

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        codes = np.clip(np.round((x - low) / step), 0, 255)
        return float(np.mean((codes * step + low - x) ** 2))

    low, high = least_error(histogram(x), LeastError())
    assert 33 < high < 37  # d/dh of (40 - h)^2 / 1e5 + ((h - low) / 255)^2 / 12 is 0 at 35
    assert error(low, high) < error(x.min(), x.max())


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("static_wi8_ai8 + percentil", "did you mean 'percentile'"),
        ("static_wi8_ai8 + percentile(uper=99)", "uper: Extra inputs.*lower, upper"),
        ("static_wi8_ai8 + percentile(upper=101)", "upper: .*less than or equal to 100"),
        ("static_wi8_ai8 + percentile(lower=90, upper=10)", "lower must be less than upper"),
        ("static_wi8_ai8 + percentile + mse", "both choose the ranges"),
        ("dynamic_wi8_afp32 + mse", "stores no ranges of activations"),
        ("float + cross_layer_equalization", "leaves weights in float"),
    ],
)
def test_steps_that_do_nothing_good_are_refused(recipe: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_listed(get_target("host-litert"), load_recipe(recipe))


def test_a_technique_from_outside_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "outside_technique.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("halve", "outside_technique:TECHNIQUE", techniques.GROUP)
    monkeypatch.setattr(
        "harness.host.plug_ins.entry_points", lambda group: [entry] * (group == techniques.GROUP)
    )
    sys.modules.pop("outside_technique", None)
    assert "halve" in techniques.all_techniques()


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_rescaled_tensors_are_compared_with_what_they_stand_for(nets: Path, target: str) -> None:
    """Equalization changes the tensors inside; held against the submitted model they would all be
    wrong by its factors."""
    samples = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    recipe = "static_wi8_ai8 + cross_layer_equalization(rounds=30)"
    done = harness.run(f"{nets}:uneven", samples, target=target, recipe=recipe)
    assert done.cost is not None
    inside = [tensor for tensor in done.cost.tensors[1:] if tensor.sqnr_db is not None]
    assert len(inside) >= 2
    assert min(tensor.sqnr_db or 0.0 for tensor in inside) > 25, inside
