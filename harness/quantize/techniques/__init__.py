"""The techniques that a recipe's steps name: one file each, and one line in `_FILES`.

Others come from outside by entry point, in group `GROUP`; see docs/adding-a-technique.md.
"""

import difflib
import hashlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError
from harness.host.plug_ins import with_additions
from harness.host.wording import first_fault
from harness.quantize import float_model
from harness.quantize.technique import STAGES, Draft, Technique
from harness.recipe import Recipe, Rule, Step

GROUP = "edgefarm.techniques"

_CHOSEN = {"weights": "the integers of weights", "ranges": "the ranges of activations"}
_FILES = (
    "adaround",
    "bias_correction",
    "bits",
    "cross_layer_equalization",
    "entropy",
    "gptq",
    "keep_float",
    "moving_average",
    "mse",
    "mse_weights",
    "octav",
    "percentile",
    "pseudo_per_channel",
)


def all_techniques() -> dict[str, Technique]:
    """Ours and those of installed packages, by name.

    Raises:
        UsageError: one of those cannot be loaded, is no technique, or takes a name that is in use.
    """
    own = {name: import_module(f"{__name__}.{name}").TECHNIQUE for name in _FILES}
    return with_additions(own, GROUP, Technique)


def get_technique(name: str) -> Technique:
    """The technique of that name.

    Raises:
        UsageError: there is none.
    """
    known = all_techniques()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"technique {name!r}: no such technique{meant} (one of: {', '.join(known)})")


def options_of(step: Step) -> Any:  # noqa: ANN401  each technique has its own model
    """The step's options as the technique's model.

    Raises:
        UsageError: no such technique or option, or a value that it does not take.
    """
    technique = get_technique(step.technique)
    try:
        return technique.options.model_validate(dict(step.options), strict=True)
    except ValidationError as error:
        known = ", ".join(technique.options.model_fields) or "none"
        raise UsageError(f"step {step}: {first_fault(error)} (the options: {known})") from error


def staged(recipe: Recipe, stage: str) -> Iterator[tuple[Step, Technique, BaseModel]]:
    """The steps of one stage, in the recipe's order."""
    for step in recipe.steps:
        technique = get_technique(step.technique)
        if technique.stage == stage:
            yield step, technique, options_of(step)


def source_of(technique: Technique) -> str:
    """Digest of the file that defines a technique, and of what ours share (`float_model`): a change
    of either makes new artifacts."""
    own = import_module(technique.apply.__module__).__file__
    shared = sorted(Path(float_model.__path__[0]).glob("*.py"))
    digest = hashlib.sha256()
    for path in (*([Path(own)] if own else []), *shared):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_steps(recipe: Recipe, runtime: str) -> None:
    """Raise UsageError for a step that does not exist, or that does nothing good here."""
    for stage in STAGES:
        taken = list(staged(recipe, stage))
        choosing = [step for step, technique, _ in taken if technique.chooses]
        if stage in _CHOSEN and len(choosing) > 1:
            raise UsageError(
                f"recipe {recipe.name}: {choosing[0]} and {choosing[1]} both choose "
                f"{_CHOSEN[stage]}; leave one out"
            )
        for step, technique, _ in taken:
            if reason := technique.refuses(recipe, runtime):
                raise UsageError(f"recipe {recipe.name}: step {step}: {reason}")


def rules_of_steps(recipe: Recipe) -> tuple[Rule, ...]:
    """Of those steps that need neither the model nor data for them."""
    bare = Draft(None, (), (), recipe)
    return tuple(
        rule
        for _, technique, options in staged(recipe, "rules")
        if not technique.needs_module
        for rule in technique.apply(bare, options)
    )


def say_steps(recipe: Recipe | None) -> tuple[str, ...]:
    """Notes for the manifest of what was lowered with these steps."""
    for _step, technique, _options in staged(recipe, "graph") if recipe else ():
        if not technique.keeps_values:
            return (
                f"{technique.name} rescaled tensors inside the model: those are compared with "
                "the float model as the recipe's graph steps left it, outputs with the submitted",
            )
    return ()
