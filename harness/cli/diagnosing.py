"""`edgefarm diagnose`: which layers are to blame for what a recipe loses, and what helps."""

import typer

from harness.cli.options import (
    DataOption,
    ModelArgument,
    RecipeOption,
    SocOption,
    TargetOption,
    data_of,
)
from harness.cli.output import JsonOption, print_json, progress_bar, remark, stdout
from harness.host.cache import default_cache
from harness.judge.diagnosis import check_diagnosable, diagnose
from harness.prepare import prepared
from harness.recipe import load_recipe
from harness.request import Request
from reports.diagnosis import diagnosis_tables
from targets import get_target


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("diagnose", rich_help_panel="Evaluate a model")(diagnose_)


def diagnose_(
    model: ModelArgument,
    target: TargetOption,
    recipe: RecipeOption = None,
    data: DataOption = None,
    soc: SocOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which layers lose how much by quantization, why, and which step helps.

    Only calibration samples are looked at; nothing runs on a device.

    Example: edgefarm diagnose zoo:digits-cnn --target host-litert --recipe static_wi8_ai8
    """
    chosen = check_diagnosable(model, load_recipe(recipe) if recipe else None)
    request = Request(model, data_of(model, data), get_target(target), chosen, soc=soc)
    cache = default_cache()
    with progress_bar() as progress:
        ready = prepared(request, cache=cache, compiled=False, progress=progress)
        found = diagnose(request, ready, cache=cache, spelled=recipe or "", progress=progress)
    if as_json:
        print_json(found)
        return
    for part in diagnosis_tables(found):
        stdout.print(part)
    for note in found.notes:
        remark(f"note: {note}")
