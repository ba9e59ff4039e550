"""What a target can be made of: which models, by which recipes; asked before any work."""

from pathlib import Path

from harness.errors import UsageError
from harness.model import Model
from harness.quantize.techniques import check_steps, rules_of_steps
from harness.recipe import RECIPES, Recipe, Scheme
from harness.target import Target


def check_recipe(target: Target, model: Model, recipe: Recipe | None) -> None:
    """Raise UsageError unless the target can be made an artifact of the model by the recipe."""
    check_suffix(target, Path(model.resolved).suffix, model.reference)
    if model.quantized:
        if recipe is not None:
            raise UsageError(
                f"{model.reference} is quantized already; leave out the recipe, got {recipe.name}"
            )
        return
    if recipe is None:
        raise UsageError(
            f"{model.reference} is a float model; name a recipe: {', '.join(target.recipes)}"
        )
    check_listed(target, recipe)


def check_suffix(target: Target, suffix: str, reference: str) -> None:
    """Raise UsageError for a lowered file that the target does not run."""
    from harness.emulator.formats.model_file import is_lowered  # with all readers

    if suffix != target.suffix and is_lowered(suffix):
        raise UsageError(
            f"{target.name} runs {target.suffix} files, or lowers PyTorch models; {reference} runs "
            f"on targets with {suffix} files, see `edgefarm targets`"
        )


def check_listed(target: Target, recipe: Recipe) -> None:
    """Raise UsageError for a recipe of ours that is not among the target's."""
    if is_unlisted(target, recipe):
        raise UsageError(
            f"{target.name} does not take recipe {recipe.name}; "
            f"it takes: {', '.join(target.recipes)}"
        )
    if (recipe.steps or recipe.rules) and not target.takes_steps:
        what = f"step {recipe.steps[0]}" if recipe.steps else "rules"
        raise UsageError(f"{target.name} takes no steps and no rules; leave out {what}")
    check_steps(recipe, target.runtime)
    _check_scheme(target, recipe.name, recipe.scheme)
    for rule in (*recipe.rules, *rules_of_steps(recipe)):
        if rule.scheme and rule.scheme.mode != "float":
            _check_scheme(target, recipe.name, rule.scheme)


def is_unlisted(target: Target, recipe: Recipe) -> bool:
    """Whether it is a named recipe that is not among the target's."""
    return recipe.name in RECIPES and recipe.name not in target.recipes


def _check_scheme(target: Target, recipe: str, scheme: Scheme) -> None:
    """Refuse bits that the target has no kernels for; a scheme of the user's own is held against
    those of the named recipes."""
    if reason := scheme.contradiction():
        raise UsageError(f"recipe {recipe}: {reason}")
    named = [RECIPES[name] for name in target.recipes]
    done = sorted({(one.mode, one.activation_bits) for one in named}, key=str)
    if (scheme.mode, scheme.activation_bits) not in done:
        allowed = ", ".join(f"{mode} ({bits}-bit)" if bits else mode for mode, bits in done)
        got = f"{scheme.activation_bits}-bit activations" if scheme.activation_bits else "that"
        raise UsageError(
            f"{target.name} does not take recipe {recipe}: mode {scheme.mode!r} with {got}; "
            f"it takes modes: {allowed}"
        )
    if scheme.weight_bits == 4 and (target.runtime != "litert" or target.compile is not None):
        raise UsageError(f"{target.name} does not take recipe {recipe}: weight_bits 4; it takes 8")
