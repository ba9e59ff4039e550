"""From a model and a recipe to an artifact: in an isolated process, cached by content, and run
once before anybody trusts it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from harness.artifact import Artifact, load_artifact, save_manifest
from harness.errors import ModelError
from harness.host.cache import Cache, content_key
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.model import Model
from harness.quantize.checks import check_recipe
from harness.quantize.techniques import get_technique, source_of
from harness.quantize.tools import own_sources, tool_versions
from harness.recipe import Recipe
from harness.sources.npz import store_samples
from harness.target import LoweringRequest, Target, name_of

Array = npt.NDArray[Any]

_LOWERING_TIMEOUT_S = 3600.0
_TRIAL_TIMEOUT_S = 600.0


def lower(
    target: Target,
    model: Model,
    recipe: Recipe | None,
    calibration: tuple[Array, ...],
    *,
    soc: str | None = None,
    cache: Cache,
    progress: Progress = no_progress,
) -> Artifact:
    """Make the artifact of `model` for `target`, or take it from the cache.

    Args:
        soc: the chip; only for a target that lowers for one at once, without a `Target.compile`.
        recipe: None only for a model that came quantized.
        calibration: samples, one array for each input, in the model's own layout.
        progress: told the steps.

    Raises:
        UsageError: the recipe is not for this target or model.
        ModelError: the model cannot be lowered, or what came out does not run.
    """
    from harness.emulator.formats.model_file import is_lowered  # with all readers

    check_recipe(target, model, recipe)
    at_once = soc if target.compile is None else None
    samples = store_samples(calibration, cache)
    calibrated = recipe is not None and (recipe.needs_calibration() or bool(recipe.steps))
    techniques = [get_technique(step.technique) for step in (recipe.steps if recipe else ())]
    key = content_key(
        {
            "model": model.sha256,
            "suffix": is_lowered(Path(model.resolved).suffix),
            "recipe": (recipe.name, recipe.digest()) if recipe else None,
            "calibration": samples.parent.name if calibrated else None,
            "lowering": name_of(target.lower),
            "tools": tool_versions(),
            "source": own_sources(),
        }
        | ({"steps": [source_of(one) for one in techniques]} if techniques else {})
        | ({"soc": at_once, "target": target.source()} if at_once else {})
    )
    stored = cache.entry("artifacts", key)
    file = f"model{target.suffix}"
    if (stored / file).exists():
        progress("taken from the cache", 1, 1)
    else:
        with cache.fill("artifacts", key) as folder:
            request = LoweringRequest(
                model, recipe, target.name, samples, folder, cache.root, at_once
            )
            try:
                _lower_and_try(target, request, progress)
            except ModelError as error:
                from harness.quantize.failures.explanation import explained

                raise explained(
                    error, model, samples, runtime=target.runtime, progress=progress
                ) from error
    return _for_target(load_artifact(stored / file), target.name, model, cache)


def _lower_and_try(target: Target, request: LoweringRequest, progress: Progress) -> None:
    """Fill the request's folder, each step in a process of its own."""
    from harness.quantize.trial import run_once  # with the readers of models

    recipe = request.recipe
    what = f"{request.model.reference}, recipe {recipe.name if recipe else '(none)'}"
    made = run_isolated(
        target.lower,
        request,
        what=f"{what}, lowering for {target.name}",
        timeout_s=_LOWERING_TIMEOUT_S,
        progress=progress,
    )
    if recipe is not None:  # here, so that no target's lowering can leave it out
        manifest = replace(made.manifest, recipe_digest=recipe.digest())
        save_manifest(Artifact(made.path, manifest))
    if target.trial is None or request.model.compiled or request.soc is not None:
        return
    progress("running it once", 0, None)
    run_isolated(
        run_once,
        target.trial,
        made,
        request.calibration,
        what=f"{what}: the lowered model does not run",
        timeout_s=_TRIAL_TIMEOUT_S,
        progress=progress,
    )


def _for_target(artifact: Artifact, target: str, model: Model, cache: Cache) -> Artifact:
    """The artifact with a manifest that names this target and this reference; the same file may
    serve several."""
    named = artifact.manifest
    manifest = replace(
        named,
        target=target,
        model=model.reference,
        recipe=named.recipe or model.recipe,
        recipe_digest=named.recipe_digest or model.recipe_digest,
    )
    if manifest == artifact.manifest:
        return artifact
    key = content_key({"file": str(artifact.path), "target": target, "model": model.reference})
    own = cache.entry("artifacts", key) / artifact.path.name
    if not own.exists():
        with cache.fill("artifacts", key) as folder:
            shutil.copyfile(artifact.path, folder / own.name)
            save_manifest(Artifact(folder / own.name, manifest))
    return load_artifact(own)
