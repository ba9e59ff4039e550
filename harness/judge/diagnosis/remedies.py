"""What to do about a cause: a step that exists and that the target takes, and the command."""

import shlex
from collections.abc import Iterator
from dataclasses import replace

from harness.errors import UsageError
from harness.judge.diagnosis.records import Cause
from harness.quantize.checks import check_listed
from harness.quantize.techniques import all_techniques, staged
from harness.recipe import RECIPES, Recipe, Step, load_recipe
from harness.target import Target

_STEPS: dict[tuple[Cause, str], tuple[str, ...]] = {
    ("weight-range-ratio", "convolution"): (
        "pseudo_per_channel",
        "cross_layer_equalization",
        "adaround",
        "gptq",
    ),
    ("weight-range-ratio", "other"): ("awq", "smoothquant", "gptq", "adaround"),
    ("weight-outlier", "convolution"): ("mse_weights", "adaround", "gptq", "bias_correction"),
    ("weight-outlier", "other"): ("gptq", "awq", "adaround", "mse_weights", "bias_correction"),
    ("activation-range-ratio", "convolution"): ("cross_layer_equalization", "mse", "percentile"),
    ("activation-range-ratio", "other"): ("smoothquant", "mse", "percentile"),
    ("activation-outlier", "convolution"): ("cross_layer_equalization", "percentile", "mse"),
    ("activation-outlier", "other"): ("smoothquant", "percentile", "mse"),
    ("clipped", "convolution"): ("mse",),
    ("clipped", "other"): ("mse",),
    ("bias-shift", "convolution"): ("bias_correction", "adaround"),
    ("bias-shift", "other"): ("bias_correction", "adaround"),
    ("saturated", "convolution"): ("percentile", "mse", "octav", "entropy"),
    ("saturated", "other"): ("percentile", "mse", "octav", "entropy"),
    ("few-bits", "convolution"): ("adaround", "gptq", "mse_weights"),
    ("few-bits", "other"): ("adaround", "gptq", "awq", "mse_weights"),
}
"""Techniques by cause and kind of layer, best first."""
_OF_ACTIVATIONS = ("mse", "octav", "percentile")
"""For activations that have few bits, where a target has no wider ones."""
_WIDER = "static_wi8_ai16"


def remedy(
    cause: Cause,
    *,
    module: str,
    convolution: bool,
    of_weights: float,
    recipe: Recipe,
    target: Target,
    spelled: str,
) -> tuple[str, str]:
    """The step that addresses a cause, and the recipe with it, as `--recipe` takes it; both ""
    where the target takes none that is known.

    Args:
        module: path of the layer in the user's source; "" where it has none.
        convolution: whether the layer is one; what helps others is another thing.
        of_weights: share of the loss that weights make.
        spelled: the recipe as it was given.
    """
    if cause == "none":
        return "", ""
    if cause == "clipped" and (without := _without_ranges(recipe, target)):
        return without
    if cause == "few-bits" and of_weights < 0.5 and _takes(target, RECIPES[_WIDER]):
        return (_WIDER, _WIDER) if recipe.activation_bits == 8 else ("", "")
    names = _STEPS[cause, "convolution" if convolution else "other"]
    if cause == "few-bits" and of_weights < 0.5:
        names = _OF_ACTIVATIONS
    for name in names:
        if name in all_techniques() and name not in {step.technique for step in recipe.steps}:
            tried = replace(recipe, name="", steps=(*_kept(recipe, name), Step(name)))
            if _takes(target, replace(tried, name=recipe.name)):
                return name, _spelled(recipe, tried, spelled, name)
    if of_weights < 0.5 and recipe.activation_bits == 8 and _takes(target, RECIPES[_WIDER]):
        return _WIDER, _WIDER
    return _in_float(module, recipe, target, spelled)


def _in_float(module: str, recipe: Recipe, target: Target, spelled: str) -> tuple[str, str]:
    """Leave the layer in float, where it is one of the user's modules."""
    step = Step("keep_float", (("names", module),))
    if not module or not _takes(target, replace(recipe, steps=(*recipe.steps, step))):
        return "", ""
    return step.technique, f"{spelled} + {step}"


def causes_for(technique: str) -> tuple[Cause, ...]:
    """The causes that a technique is named for, in no layer or another."""
    found = [cause for (cause, _kind), names in _STEPS.items() if technique in names]
    return tuple(dict.fromkeys(found))


def command(model: str, target: str, recipe: str, data: str) -> str:
    """The call that tries a recipe; "" for no recipe."""
    if not recipe:
        return ""
    words = ["edgefarm", "run", model, "--target", target, "--recipe", recipe]
    words += [] if data == model else ["--data", data]
    return shlex.join(words)


def _kept(recipe: Recipe, name: str) -> Iterator[Step]:
    """The recipe's steps, without one that chooses ranges where the new one does."""
    techniques = all_techniques()
    for step in recipe.steps:
        stages = {techniques[one].stage for one in (step.technique, name)}
        if stages != {"ranges"}:
            yield step


def _without_ranges(recipe: Recipe, target: Target) -> tuple[str, str] | None:
    """The recipe without the step that clips."""
    clipping = [step for step, _, _ in staged(recipe, "ranges")]
    kept = tuple(step for step in recipe.steps if step not in clipping)
    base = recipe.name.split(" + ", maxsplit=1)[0]
    if not clipping or base not in RECIPES or not _takes(target, replace(recipe, steps=kept)):
        return None
    return f"without {clipping[0].technique}", " + ".join((base, *map(str, kept)))


def _spelled(recipe: Recipe, tried: Recipe, spelled: str, name: str) -> str:
    """The recipe with a step more, as a person writes it."""
    if len(tried.steps) == len(recipe.steps) + 1:
        return f"{spelled} + {name}"
    base = spelled.split("+", maxsplit=1)[0].strip()
    steps = tried.steps[len(load_recipe(base).steps) :] if base in RECIPES else tried.steps[-1:]
    return " + ".join((base, *map(str, steps)))


def _takes(target: Target, recipe: Recipe) -> bool:
    try:
        check_listed(target, recipe)
    except UsageError:
        return False
    return True
