"""Prepared: a request up to the artifact that runs. All that needs no device is done here.

Every command, the farm and the pytest plugin come through here; nobody else opens models and data,
splits, lowers or compiles.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.artifact import Artifact
from harness.host.cache import Cache, default_cache
from harness.host.progress import Progress, no_progress
from harness.model import Model
from harness.preflight import check_choices, check_labels
from harness.quantize.checks import check_recipe
from harness.quantize.compile import compile_for
from harness.quantize.lower import lower
from harness.recipe import Recipe
from harness.request import Request
from harness.sources.batches import sample_count, take_samples
from harness.sources.data import check, load_data
from harness.sources.dataset import Dataset
from harness.sources.models import open_model
from harness.sources.split import Split, all_for_evaluation, split
from harness.target import Target


@dataclass(frozen=True, eq=False)
class Opened:
    """A request before anything is made of it.

    Attributes:
        model: as it was opened.
        dataset: all of the data.
        samples: for calibration, for tuning where that was asked for, and for evaluation.
    """

    model: Model
    dataset: Dataset
    samples: Split


@dataclass(frozen=True, eq=False)
class Prepared(Opened):
    """A request, ready for a device.

    Attributes:
        lowered: the artifact in the target's own format.
        artifact: what runs: `lowered`, or what the accelerator's compiler made of it.
    """

    lowered: Artifact
    artifact: Artifact


def prepared(
    request: Request,
    *,
    cache: Cache | None = None,
    compiled: bool = True,
    when_opened: Callable[[Model, Split], None] = lambda _model, _samples: None,
    progress: Progress = no_progress,
) -> Prepared:
    """Open model and data, split, lower, compile.

    Args:
        request: what of it is for a device is not looked at, but that the device runs the target.
        cache: of lowered models; the user's own by default.
        compiled: False leaves the accelerator's compiler out.
        when_opened: told the model and its samples before the long work.
        progress: told what is being done.

    Raises:
        UsageError: a reference, recipe or option is wrong.
        ModelError: the model cannot be lowered or compiled.
    """
    kept = cache or default_cache()
    reference = request.data if isinstance(request.data, str) else None
    check_choices(
        request.target,
        request.model,
        reference,
        request.recipe,
        soc=request.soc,
        device=request.device,
    )
    model, dataset = open_request(request, progress)
    check_labels(dataset, model, request.limits, request.data_name)
    samples = _limited(_parts(request.recipe, dataset), request.samples)
    when_opened(model, samples)
    opened = Opened(model, dataset, samples)
    return lowered_by(request, opened, kept, compiled=compiled, progress=progress)


def open_for_tuning(request: Request, progress: Progress = no_progress) -> Opened:
    """Open model and data for a search for a recipe; the samples for tuning are for nothing else.

    Raises:
        UsageError: a reference is wrong, or there are too few samples.
        ModelError: the model cannot be opened.
    """
    check_choices(
        request.target,
        request.model,
        request.data if isinstance(request.data, str) else None,
        None,
        soc=request.soc,
        device=request.device,
    )
    model, dataset = open_request(request, progress, any_recipe=True)
    return Opened(model, dataset, split(dataset, tuning=True))


def lowered_by(
    request: Request,
    opened: Opened,
    cache: Cache,
    *,
    compiled: bool = True,
    progress: Progress = no_progress,
) -> Prepared:
    """Lower what was opened by the request's recipe, and compile it.

    Raises:
        UsageError, ModelError: as `prepared` does.
    """
    target, soc = request.target, request.soc
    lowered = lower(
        target,
        opened.model,
        request.recipe,
        opened.samples.calibration,
        soc=soc,
        cache=cache,
        progress=progress,
    )
    artifact = lowered
    if compiled:
        artifact = compile_for(target, lowered, soc, cache=cache, progress=progress)
    return Prepared(opened.model, opened.dataset, opened.samples, lowered, artifact)


def open_request(
    request: Request, progress: Progress = no_progress, *, any_recipe: bool = False
) -> tuple[Model, Dataset]:
    """The model and its data.

    Args:
        any_recipe: the recipe is chosen elsewhere; that of the request is not looked at.

    Raises:
        UsageError: a reference is wrong, the recipe is not for the model, or the data are not.
        ModelError: the model cannot be opened.
    """
    model = open_model(request.model, progress, shapes=request.shapes)
    if not any_recipe:
        check_recipe(request.target, model, request.recipe)
    if isinstance(request.data, str):
        return model, load_data(request.data, model, progress)
    return model, check(request.data, model, request.data_name)


def compiler_for(target: Target, cache: Cache, progress: Progress) -> Callable[..., Artifact]:
    """Compiles a lowered artifact for a chip of a target: ``(lowered, soc)``, for emulators that
    hold chips against each other."""
    return lambda lowered, soc: compile_for(target, lowered, soc, cache=cache, progress=progress)


def _parts(recipe: Recipe | None, dataset: Dataset) -> Split:
    """What was used to choose the recipe does not judge it."""
    if recipe is None:
        return all_for_evaluation(dataset)
    if not recipe.tuned_on:
        return split(dataset)
    if recipe.tuned_on != dataset.digest():
        parts = split(dataset)
        note = (
            "the recipe was tuned on other data: all samples but those for calibration are judged"
        )
    else:
        parts = split(dataset, tuning=True)
        tuned, judged = sample_count(parts.tuning), sample_count(parts.evaluation)
        note = (
            f"{tuned} samples that the recipe was tuned on are left out; {judged} others are judged"
        )
    return replace(parts, notes=(*parts.notes, note))


def _limited(samples: Split, most: int | None) -> Split:
    labels = None if samples.labels is None else samples.labels[:most]
    return replace(samples, evaluation=take_samples(samples.evaluation, slice(most)), labels=labels)
