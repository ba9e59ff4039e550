"""How far a recipe's outputs are from the float model's, by running what was lowered."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.host.cache import Cache
from harness.model import Model
from harness.quantize.lower import lower
from harness.quantize.technique import Draft
from harness.recipe import load_recipe
from harness.sources.models import load_float32, open_model, parse_model
from targets import get_target
from tests.harness.quantize.conftest import run

RUNTIMES = ("host-litert", "host-executorch")
Array = npt.NDArray[Any]


def signal_to_noise(x: Array, like: Array) -> float:
    """In decibels."""
    return float(10 * np.log10(np.sum(like**2.0) / np.sum((x - like) ** 2.0)))


def outputs(
    model: Model, target: str, recipe: str, samples: Array, cache: Cache, *, calibration: Array
) -> Array:
    made = lower(get_target(target), model, load_recipe(recipe), (calibration,), cache=cache)
    return np.asarray(run(made, samples))


def ratios(
    reference: str, target: str, recipes: list[str], samples: Array, cache: Cache
) -> list[float]:
    """`signal_to_noise` of each recipe; the samples are those of calibration too."""
    import torch

    module, _ = load_float32(parse_model(reference))
    with torch.no_grad():
        held = np.concatenate([module(torch.from_numpy(x[None]))[0].numpy() for x in samples])
    model = open_model(reference)
    return [
        signal_to_noise(outputs(model, target, one, samples, cache, calibration=samples), held)
        for one in recipes
    ]


def draft_of(path: Path, function: str, recipe: str, *batches: Array) -> Draft:
    """As a technique of stage ``graph`` gets it."""
    import torch

    module, examples = load_float32(parse_model(f"{path}:{function}"))
    taken = tuple((torch.from_numpy(x),) for x in batches)
    return Draft(module, examples, taken, load_recipe(recipe))
