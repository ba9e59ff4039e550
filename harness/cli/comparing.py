"""`edgefarm run` with several recipes: each run after the other, float beside them, one report."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from farm.desk import at_the_desk
from farm.transports import connect
from harness.cli.output import after_result, print_json, progress_bar, remark, stdout
from harness.errors import UsageError
from harness.host.progress import Progress
from harness.preflight import check_choices
from harness.recipe import RECIPES, Recipe, load_recipe
from harness.records import Run, dump_run, exit_code
from harness.request import Request
from harness.target import Target
from reports.beside_float import Beside, beside
from reports.html import write_report
from reports.store import save_run
from reports.tables import recipes_detail

ALL = "all"
"""Stands for every named recipe that the target takes."""


def several(recipes: Sequence[str]) -> bool:
    """Whether a call compares recipes."""
    return len(recipes) > 1 or list(recipes) == [ALL]


def chosen(recipes: Sequence[str], target: Target) -> list[Recipe]:
    """The recipes of a call, each once, float first where the target takes it.

    Raises:
        UsageError: there is no such recipe, or they were tuned on different data, so that no
            samples can judge them all.
    """
    named = target.recipes if "float" in target.recipes else ()
    texts = [*(name for name in named if name == "float"), *recipes]
    listed = [name for text in texts for name in (target.recipes if text == ALL else (text,))]
    loaded = [load_recipe(name) for name in listed]
    distinct: dict[str, Recipe] = {}
    for one in loaded:
        distinct.setdefault(one.digest(), one)
    tuned = {one.tuned_on for one in loaded if one.tuned_on}
    if len(tuned) > 1:
        names = ", ".join(one.name for one in loaded if one.tuned_on)
        raise UsageError(
            f"{names}: tuned on different data, so that no samples can judge them all; "
            "compare those of the same data"
        )
    # All are judged on the same samples, and none of them has chosen any of the recipes.
    return [replace(one, tuned_on="".join(tuned)) for one in distinct.values()]


def compare(request: Request, recipes: Sequence[str], out: Path, *, as_json: bool) -> NoReturn:
    """Run a request with each recipe, show and keep what came of it, and end with the worst exit
    code.

    Raises:
        UsageError: the target or the model does not take one of the recipes; nothing was run.
    """
    asked = chosen(recipes, request.target)
    for recipe in asked:
        data = request.data if isinstance(request.data, str) else None
        check_choices(
            request.target, request.model, data, recipe, soc=request.soc, device=request.device
        )
    if RECIPES["float"] not in [replace(one, tuned_on="") for one in asked]:
        remark(
            f"note: {request.target.name} takes no float model: its accuracy is told, no size and "
            "no time"
        )
    with (
        progress_bar() as progress,
        at_the_desk(request.device, connect, what="run") as opened,
    ):
        from harness.evaluate import evaluate

        runs = []
        for recipe in asked:
            told = _under(recipe.name, progress)
            runs.append(evaluate(replace(request, recipe=recipe), opened, progress=told))
            with after_result():
                save_run(runs[-1], out)  # at once: the next one may be stopped
    group = beside(runs)
    if as_json:
        print_json([_as_json(one) for one in group])
    else:
        stdout.print(recipes_detail(group))
    with after_result():
        page = write_report([one.run for one in group], out / "report.html")
    if not as_json:
        stdout.print(f"report: {page}", soft_wrap=True, highlight=False)
    raise typer.Exit(exit_code(run.outcome for run in runs))


def _under(recipe: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{recipe}: {stage}", done, total)


def _as_json(one: Beside) -> dict[str, object]:
    """The run as in run.json, with what it is against float."""
    run: Run = one.run
    against = {"latency_ratio": one.ratio, "slower": one.slower, "why": one.why}
    return {**json.loads(dump_run(run)), "against_float": against if one.in_float else None}
