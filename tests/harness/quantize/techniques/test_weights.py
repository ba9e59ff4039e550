"""Techniques that choose the integers of weights: that the file holds the chosen ones, bit for bit,
and that they are better where plain rounding fails. Judges: closed forms and exhaustive search."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.emulator.formats.model_file import read_model
from harness.errors import UsageError
from harness.host.cache import Cache
from harness.model import Model
from harness.quantize.checks import check_listed
from harness.quantize.float_model.walking import turns
from harness.quantize.lower import lower
from harness.quantize.samples import model_batches
from harness.quantize.technique import Draft
from harness.quantize.techniques import get_technique, options_of
from harness.recipe import Recipe, Step, load_recipe
from harness.sources.models import open_model
from targets import get_target
from tests.harness.quantize.conftest import run

NET = '''
import torch

class Kinds(torch.nn.Module):
    """A layer of each kind, with and without bias and normalization."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        nn = torch.nn
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.wide = nn.Conv2d(16, 8, (1, 3), padding="same", dilation=(1, 2))
        self.hidden = nn.Linear(32, 24)
        self.last = nn.Linear(24, 10, bias=False)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2.0)
            self.norm.weight.uniform_(0.5, 1.5)[::2].mul_(-1)
            self.norm.bias.normal_()
    def forward(self, x):
        clamp = torch.nn.functional.relu6
        x = clamp(self.norm(self.first(x)))
        x = torch.relu(self.wide(clamp(self.pointwise(torch.relu(self.depthwise(x))))))
        x = torch.nn.functional.avg_pool2d(x, 2).flatten(1)
        return self.last(torch.relu(self.hidden(x)))

def kinds(): return Kinds(), (torch.zeros(1, 3, 8, 8),)
'''

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path: Path = tmp_path_factory.mktemp("nets") / "kinds.py"
    path.write_text(NET)
    return open_model(f"{path}:kinds")


@pytest.fixture(scope="module")
def samples() -> Array:
    return np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)


def draft(model: Model, samples: Array, recipe: Recipe) -> Draft:
    from harness.sources.models import load_float32, parse_model

    module, examples = load_float32(parse_model(model.resolved))
    batches = tuple(model_batches(model, {"in0": samples}, examples))
    return Draft(module, examples, batches, recipe)


def apply(given: Draft, step: str, **options: Any) -> Any:
    technique = get_technique(step)
    technique.apply(given, options_of(Step(step, tuple(options.items()))))
    return given.module


def codes(weight: Array, bits: int, granularity: str) -> Array:
    """The whole numbers of a weight on a grid, which is checked to be one."""
    largest = 2 ** (bits - 1) - 1
    magnitude = np.abs(weight)
    axes = tuple(range(1, weight.ndim)) if granularity == "channel" else None
    numbers = weight * largest / magnitude.max(axis=axes, keepdims=True)
    assert np.abs(numbers - np.rint(numbers)).max() < 1e-3
    return np.asarray(np.rint(numbers), np.int8)


def stored(path: Path) -> list[Array]:
    """All constants of a file with more than one axis, as signed numbers."""
    tensors = [one.data for one in read_model(path).main.tensors if one.data is not None]
    return [np.asarray(x, np.int8) for x in tensors if x.ndim > 1 and x.dtype.kind == "i"]


SCHEMES = {
    "static4": {"mode": "static", "weight_bits": 4, "activation_bits": 8},
    "dynamic4": {"mode": "dynamic", "weight_bits": 4},
    "static8": {"mode": "static", "weight_bits": 8, "activation_bits": 8},
    "tensor8": {
        "mode": "static",
        "weight_bits": 8,
        "activation_bits": 8,
        "weight_granularity": "tensor",
    },
}


def recipe_of(folder: Path, scheme: str, steps: str) -> Recipe:
    file = folder / f"{scheme}.json"
    file.write_text(json.dumps({"scheme": SCHEMES[scheme]}))
    return load_recipe(f"{file} {steps}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        ("host-litert", "static4"),
        ("host-litert", "dynamic4"),
        ("host-litert", "tensor8"),
        ("host-executorch", "static8"),
        ("host-executorch", "tensor8"),
    ],
    ids="-".join,
)
def test_the_file_holds_the_chosen_numbers(
    kinds: Model, samples: Array, cache: Cache, tmp_path: Path, case: tuple[str, str]
) -> None:
    target, scheme = case
    recipe = recipe_of(tmp_path, scheme, "+ gptq")
    made = lower(get_target(target), kinds, recipe, (samples,), cache=cache)
    module = apply(draft(kinds, samples, recipe), "gptq")
    found = stored(made.path)
    for name, x in module.named_parameters():
        if x.ndim < 2:
            continue
        bits = 8 if "depthwise" in name else recipe.weight_bits or 8
        weight = x.detach().numpy()
        if "first" in name:  # what is quantized has the normalization folded in
            norm = module.model.norm
            slope = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = weight * slope.detach().numpy()[:, None, None, None]
        wanted = codes(weight, bits, recipe.weight_granularity)
        if wanted.ndim == 4:
            wanted = np.moveaxis(wanted, 0 if "depthwise" in name else 1, -1)
        assert any(np.array_equal(np.ravel(one), np.ravel(wanted)) for one in found), name


def decibels(made: Array, held: Array) -> float:
    return float(10 * np.log10(np.sum(held**2.0) / np.sum((made - held) ** 2.0)))


@pytest.mark.slow
def test_chosen_numbers_lose_less_on_the_runtime(
    kinds: Model, samples: Array, cache: Cache, tmp_path: Path
) -> None:
    """Four bits, as LiteRT runs them: plain rounding against GPTQ."""
    import torch

    others = np.random.default_rng(1).normal(size=(32, 3, 8, 8)).astype(np.float32)
    recipe = recipe_of(tmp_path, "static4", "+ gptq")
    held = draft(kinds, samples, recipe).module(torch.from_numpy(others))[0].detach().numpy()
    plain, gptq = (
        decibels(
            run(lower(get_target("host-litert"), kinds, x, (samples,), cache=cache), others), held
        )
        for x in (recipe_of(tmp_path, "static4", ""), recipe)
    )
    assert gptq > plain + 2, (plain, gptq)


def test_chosen_numbers_lose_less_than_plain_rounding(
    kinds: Model, samples: Array, tmp_path: Path
) -> None:
    """Four bits, on samples that chose nothing."""
    import torch

    others = torch.from_numpy(np.random.default_rng(1).normal(size=(64, 3, 8, 8))).float()
    recipe = recipe_of(tmp_path, "static4", "")
    held = draft(kinds, samples, recipe).module(others)[0].detach().numpy()
    plain = draft(kinds, samples, recipe)
    for turn in turns(plain):
        grid = turn.grid("max")
        turn.put(grid.nearest(turn.rows()) * grid.scale)
    made = {"": plain.module}
    for step, options in (("mse_weights", {}), ("gptq", {}), ("adaround", {"iterations": 200})):
        made[step] = apply(draft(kinds, samples, recipe), step, **options)
    ratio = {x: decibels(y(others)[0].detach().numpy(), held) for x, y in made.items()}
    assert ratio["mse_weights"] > ratio[""], ratio
    assert ratio["gptq"] > ratio[""] + 3, ratio
    assert ratio["adaround"] > ratio[""] + 3, ratio


def quadratic(error: Array, moments: Array) -> float:
    return float(error @ moments @ error)


@pytest.mark.parametrize("seed", range(5))
def test_gptq_is_the_direct_solution(seed: int) -> None:
    """The judge solves for the best values of all weights that are left, after each that is
    rounded; no Cholesky factor, no blocks."""
    import torch

    from harness.quantize.techniques.gptq import inverse_factor, rounded

    generator = np.random.default_rng(seed)
    rows, columns, largest, damp = 5, 12, 7, 0.05
    x = generator.normal(size=(40, columns)) @ generator.normal(size=(columns, columns))
    moments = x.T @ x / len(x)
    weight = generator.normal(size=(rows, columns))
    scale = np.abs(weight).max(1, keepdims=True) / largest
    pinned = np.zeros(weight.shape, bool)
    pinned[np.arange(rows), np.abs(weight).argmax(1)] = True
    one, two, three = (torch.from_numpy(each)[None] for each in (weight, scale, pinned))
    factor = inverse_factor(torch.from_numpy(moments)[None], damp)
    made = rounded(one, two, three, factor, largest=largest, block=4)[0].numpy()

    damped = moments + damp * np.diag(moments).mean() * np.eye(columns)
    for row in range(rows):
        left = weight[row].copy()
        for at in range(columns):
            code = np.clip(np.rint(left[at] / scale[row, 0]), -largest, largest)
            left[at] = (np.sign(weight[row, at]) * largest if pinned[row, at] else code) * scale[
                row, 0
            ]
            rest = slice(at + 1, columns)
            known = damped[rest, : at + 1] @ (left[: at + 1] - weight[row, : at + 1])
            left[rest] = weight[row, rest] - np.linalg.solve(damped[rest, rest], known)
        assert np.array_equal(made[row], np.rint(left / scale[row, 0]))
        plain = np.rint(weight[row] / scale[row, 0]) * scale[row, 0]
    assert quadratic(left - weight[-1], damped) <= quadratic(plain - weight[-1], damped)


LAYER = """
import torch

def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(9, 6), (torch.zeros(1, 9),)
"""


def test_adaround_finds_the_best_rounding(tmp_path: Path) -> None:
    """The judge tries every way of rounding down or up, on inputs that go together."""
    path = tmp_path / "layer.py"
    path.write_text(LAYER)
    model = open_model(f"{path}:layer")
    generator = np.random.default_rng(2)
    common = generator.normal(size=(256, 1))
    x = (common + 0.3 * generator.normal(size=(256, 9))).astype(np.float32)
    recipe = recipe_of(tmp_path, "static4", "")
    given = draft(model, x, recipe)
    weight = given.module.state_dict()["model.weight"].numpy().copy()
    options = {"scale": "max", "refit": False, "prior": 0.0, "iterations": 600}
    made = apply(given, "adaround", **options).state_dict()["model.weight"].numpy()
    moments = (x.T @ x / len(x)).astype(np.float64)
    scale = np.abs(weight).max(1, keepdims=True) / 7
    for row, step in zip(range(len(weight)), scale[:, 0], strict=True):
        down = np.floor(weight[row] / step)
        fixed = np.abs(weight[row]).argmax()
        every = np.array(list(product((0, 1), repeat=9))) + down
        every[:, fixed] = 7 * np.sign(weight[row, fixed])
        apart = every * step - weight[row]
        errors = np.einsum("ij,jk,ik->i", apart, moments, apart)
        plain = quadratic(np.rint(weight[row] / step) * step - weight[row], moments)
        reached = quadratic(made[row] - weight[row], moments)
        assert reached <= max(1.3 * errors.min(), 0.1 * plain), (row, errors.min(), reached, plain)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_scale_with_the_least_error(bits: int) -> None:
    """The judge tries ten thousand scales of each row."""
    import torch

    from harness.quantize.float_model.grid import Grid

    rows = np.random.default_rng(0).standard_t(3, size=(6, 200))
    largest = 2 ** (bits - 1) - 1
    grid = Grid(torch.from_numpy(rows), bits, "channel", "mse")
    made = (grid.nearest(torch.from_numpy(rows)) * grid.scale).numpy()
    total = np.zeros(2)
    for row, reached in zip(rows, made, strict=True):
        errors = [
            np.sum((np.clip(np.rint(row / scale), -largest, largest) * scale - row) ** 2)
            for scale in np.linspace(0.05, 1.0, 10_000) * np.abs(row).max() / largest
        ]
        error = np.sum((reached - row) ** 2)
        assert error <= 1.02 * min(errors)
        total += error, errors[-1]
    assert bits == 8 or total[0] < 0.9 * total[1]


@pytest.mark.parametrize("step", ["mse_weights", "gptq", "adaround"])
def test_the_same_step_gives_the_same_bytes(
    kinds: Model, samples: Array, tmp_path: Path, step: str
) -> None:
    options = {"iterations": 20} if step == "adaround" else {}
    first, second = (
        apply(draft(kinds, samples, recipe_of(tmp_path, "static4", "")), step, **options)
        for _ in range(2)
    )
    first, second = first.state_dict(), second.state_dict()
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("static_wi8_ai8 + gptq + adaround", "gptq and adaround both choose the integers of wei"),
        ("float + gptq", "leaves weights in float"),
        ("static_wi8_ai8 + gptq(damp=0.0)", "damp: .*greater than 0"),
        ("static_wi8_ai8 + adaround(scale='min')", "scale: Input should be 'max' or 'mse'"),
    ],
)
def test_what_does_nothing_good_is_refused(recipe: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_listed(get_target("host-litert"), load_recipe(recipe))
