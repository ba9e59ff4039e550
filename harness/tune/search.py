"""The search: rung by rung, until the budget is met, the ladder ends, or the time does."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.device import NO_DEVICE, Connect, Device
from harness.errors import UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache, default_cache
from harness.host.progress import Progress, no_progress
from harness.prepare import open_for_tuning
from harness.quantize.reference import float_outputs
from harness.recipe import Recipe, load_recipe, to_json
from harness.records import Run
from harness.request import Request
from harness.sources.batches import sample_count
from harness.target import Target
from harness.tune.bench import Bench, Told
from harness.tune.budget import Budget
from harness.tune.front import best, pareto
from harness.tune.ladder import Ladder
from harness.tune.records import Recommended, Refused, Trial, Tuning


@dataclass(frozen=True)
class Effort:
    """How much may be tried.

    Attributes:
        seconds: after these no trial is begun.
        trials: most of them.
    """

    seconds: float = 1800.0
    trials: int = 60


@dataclass(frozen=True, eq=False)
class Choice:
    """The trial that is recommended.

    Attributes:
        trial: on the tuning samples.
        recipe: that was tried; it knows what data it was tuned on.
        run: its one run on the evaluation samples.
    """

    trial: Trial
    recipe: Recipe
    run: Run


def tune(
    request: Request,
    budget: Budget,
    connect: Connect,
    *,
    timed_on: Device = NO_DEVICE,
    timed_as: Target | None = None,
    effort: Effort | None = None,
    cache: Cache | None = None,
    told: Told = lambda _trial: None,
    progress: Progress = no_progress,
) -> tuple[Tuning, Choice | None]:
    """Find the recipe that keeps a model within a budget.

    Args:
        request: model, data, target, chip; its recipe is not looked at. Where it has a device, the
            recommended recipe is evaluated there.
        budget: what the recipe may cost.
        connect: opens a transport to a device.
        timed_on: the device whose latencies count, see `Metrics`.
        timed_as: the target whose runner runs the files there; by default the request's.
        effort: how much may be tried.
        told: see `Told`.

    Returns:
        What was found, still without its recommendation (see `recommending`), and the choice; None
        where nothing could be judged.

    Raises:
        UsageError: model, data, target or device are wrong, or there are too few samples.
        ModelError: the model cannot be opened, or fails in float.
    """
    kept, effort = cache or default_cache(), effort or Effort()
    began = time.monotonic()
    opened = open_for_tuning(request, progress)
    in_float = float_outputs(opened.model, opened.samples.tuning, cache=kept, progress=progress)
    if in_float is None:
        raise UsageError(f"{request.model} is quantized already: there is no recipe to look for")
    bench = Bench(
        request, opened, in_float, timed_on, timed_as or request.target, connect, kept, progress
    )
    trials: list[Trial] = []
    refused: list[Refused] = []
    ladder = Ladder(bench, budget, trials)

    def over() -> str:
        if time.monotonic() - began > effort.seconds:
            return f"the time of {effort.seconds:.0f} s is over"
        return f"{effort.trials} trials are done" if len(trials) >= effort.trials else ""

    stopped = _climb(ladder, refused, over, told)
    plain = next((one for one in trials if one.recipe == ladder.plain), None)
    trial = best(trials, budget, plain)
    choice = None
    if trial is not None:
        recipe = replace(load_recipe(trial.recipe), tuned_on=opened.dataset.digest())
        run = evaluate(replace(request, recipe=recipe), connect, cache=kept, progress=progress)
        choice = Choice(trial, recipe, run)
    return (
        Tuning(
            model=request.model,
            target=request.target.name,
            device=request.device.name if request.device != NO_DEVICE else "",
            budget=budget,
            samples=sample_count(opened.samples.tuning),
            judged_by=bench.judged_by,
            latency_of=timed_on.name if timed_on != NO_DEVICE else "",
            float_score=bench.float_score,
            trials=tuple(trials),
            refused=tuple(refused),
            front=pareto(trials),
            recommended=None,
            stopped=stopped,
            notes=(*opened.samples.notes, *ladder.notes),
        ),
        choice,
    )


def _climb(ladder: Ladder, refused: list[Refused], over: Callable[[], str], told: Told) -> str:
    """Judge what the ladder proposes; why it ended."""
    for rung in ladder.rungs():
        for recipe, why in rung:
            if reason := over():
                return reason
            if recipe in {*(x.recipe for x in ladder.trials), *(x.recipe for x in refused)}:
                continue
            trial = ladder.bench.trial(recipe, why)
            if isinstance(trial, Trial):
                ladder.trials.append(trial)
            else:
                refused.append(trial)
            told(trial)
    return "nothing is left to try"


def recommending(tuning: Tuning, choice: Choice, path: Path, command: str) -> Tuning:
    """What was found with its recommendation, whose recipe is written to a file.

    Args:
        path: of the file.
        command: that runs the recipe.
    """
    path.write_text(to_json(choice.recipe))
    recommended = Recommended(
        recipe=choice.trial.recipe,
        file=str(path),
        within_budget=choice.trial.metrics.within(tuning.budget),
        command=command,
        metrics=choice.trial.metrics,
        evaluated=_evaluated(choice.run),
    )
    return replace(tuning, recommended=recommended)


def _evaluated(run: Run) -> dict[str, Any]:
    accuracy = run.accuracy
    scores = {
        name: value.value
        for name in ("top1", "float_top1", "agreement")
        if accuracy is not None and (value := getattr(accuracy, name)) is not None
    }
    return {"outcome": run.outcome, "samples": run.samples, **scores}
