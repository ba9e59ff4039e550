"""Techniques that choose ranges: on distributions whose best range is known."""

from pathlib import Path

import numpy as np
import pytest

from harness.host.cache import Cache
from harness.quantize.histograms import BINS
from harness.quantize.technique import Histogram
from harness.quantize.techniques import entropy, moving_average, octav
from harness.recipe import load_recipe
from harness.sources.models import open_model
from tests.harness.quantize.techniques.measuring import (
    RUNTIMES,
    Array,
    outputs,
    signal_to_noise,
)

NET = """
import torch

def spiked():
    torch.manual_seed(1)
    layers = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)
    return torch.nn.Sequential(*layers), (torch.zeros(1, 1, 8, 8),)
"""


def histogram(x: Array, levels: int = 255) -> Histogram:
    low, high = float(x.min()), float(x.max())
    spans = tuple((float(one.min()), float(one.max())) for one in np.array_split(x, 10))
    return Histogram(low, high, np.histogram(x, BINS, (low, high))[0], levels, spans)


def error(x: Array, low: float, high: float, levels: int) -> float:
    """Of clipping, and of rounding within as uniform noise."""
    step = (high - low) / levels
    inside = (x >= low) & (x <= high)
    return float(np.mean((np.clip(x, low, high) - x) ** 2) + inside.mean() * step**2 / 12)


@pytest.mark.parametrize("levels", [15, 255])
@pytest.mark.parametrize("rectified", [False, True])
def test_octav_finds_what_a_search_finds(levels: int, rectified: bool) -> None:
    x = np.random.default_rng(0).laplace(size=200_000)
    x = np.maximum(x, 0) if rectified else x
    low, high = octav.choose(histogram(x, levels), octav.Octav())
    assert (low == 0) is rectified
    ends = np.linspace(0.3, 1.0, 141)
    tried = [(x.min() * a, x.max() * a) for a in ends]
    if not rectified:
        tried += [(-b, b) for b in np.linspace(2, 12, 201)]
    else:
        tried += [(0.0, b) for b in np.linspace(2, 12, 201)]
    best = min(error(x, *one, levels) for one in tried)
    assert error(x, low, high, levels) <= best * 1.001


def test_octav_of_16_bits_keeps_nearly_all() -> None:
    x = np.random.default_rng(0).normal(size=100_000)
    low, high = octav.choose(histogram(x, 65535), octav.Octav())
    assert low < x.min() * 0.98
    assert high > x.max() * 0.98


def test_entropy_leaves_a_lone_outlier_out_and_keeps_a_flat_distribution() -> None:
    generator = np.random.default_rng(0)
    flat = generator.uniform(-1, 1, 100_000)
    low, high = entropy.choose(histogram(flat), entropy.Entropy())
    assert low < -0.95
    assert high > 0.95
    spiked = np.append(generator.normal(size=100_000), 500.0)
    low, high = entropy.choose(histogram(spiked), entropy.Entropy())
    assert 3 < high < 60


def test_a_moving_average_is_the_closed_form() -> None:
    """The first span weighs keep^(n-1), the one k before the last (1 - keep) keep^k."""
    x = np.random.default_rng(0).normal(size=1000)
    spans = np.array(histogram(x).spans)
    weights = 0.1 * 0.9 ** np.arange(9, -1, -1)
    weights[0] /= 0.1
    got = moving_average.choose(histogram(x), moving_average.MovingAverage(keep=0.9))
    assert np.allclose(got, weights @ spans)


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
def test_one_outlier_does_not_take_the_resolution(
    tmp_path: Path, cache: Cache, target: str
) -> None:
    nets = tmp_path / "nets.py"
    nets.write_text(NET)
    model = open_model(f"{nets}:spiked")
    samples = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)
    calibration = samples.copy()
    calibration[3, 0, 0, 0] = 200.0

    def made(recipe: str) -> Array:
        return outputs(model, target, recipe, samples, cache, calibration=calibration)

    held = made("float")
    steps = ("", " + octav", " + entropy", " + moving_average(keep=0.95)")
    plain, *better = [signal_to_noise(made(f"static_wi8_ai8{step}"), held) for step in steps]
    assert plain < 22, (plain, better)
    # Of a thousand values, the optimum of the error and of the divergence keep a single huge one.
    assert min(better[:2]) > plain - 0.5, (plain, better)
    assert better[2] > plain + 6, (plain, better)


def test_entropy_refuses_16_bits() -> None:
    said = entropy.TECHNIQUE.refuses(load_recipe("static_wi8_ai16"), "litert")
    assert "use octav" in said
