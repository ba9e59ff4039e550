"""`edgefarm check`: where each op of a model would run on a target, without running anything."""

from pathlib import Path

import typer

from harness.cli.options import (
    DataOption,
    ModelArgument,
    RecipeOption,
    RequireFullDelegation,
    ShapeOption,
    SocOption,
    TargetOption,
    data_of,
)
from harness.cli.output import JsonOption, print_json, progress_bar, remark, stdout
from harness.cli.vendor import AcceptOption
from harness.host.cache import default_cache
from harness.host.progress import Progress
from harness.placement import PlacementReport, say_left
from harness.preflight import check_choices
from harness.prepare import prepared
from harness.quantize.placing import check, check_soc
from harness.recipe import load_recipe
from harness.request import Request
from harness.sources.open_shapes import with_shapes
from harness.target import Target
from reports import words
from reports.tables import placement_table
from targets import get_target


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("check", rich_help_panel="Evaluate a model")(check_)


def check_(
    model: ModelArgument,
    target: TargetOption,
    recipe: RecipeOption = None,
    data: DataOption = None,
    soc: SocOption = None,
    shape: ShapeOption = None,
    require_full_delegation: RequireFullDelegation = False,
    accept_qualcomm_license: AcceptOption = False,  # noqa: ARG001  acts when it is parsed
    as_json: JsonOption = False,
) -> None:
    """Tell for each op of a model where it would run on a target, why, and what would help.

    A file of the target's own kind is examined as it is; any other model is lowered first. Nothing
    is run on a device. Exit 1 when the model cannot run there.

    Example: edgefarm check model.tflite --target edge-tpu
    """
    where = get_target(target)
    check_soc(where, soc)
    with progress_bar() as progress:
        path = _lowered(model, where, recipe, data, soc, tuple(shape or ()), progress)
        report = check(where, path, soc, progress=progress)
    left = say_left(report)
    failed = bool(report.impossible) or (require_full_delegation and bool(left))
    _show(report, where, soc, as_json=as_json)
    for one in report.impossible[:1]:
        remark(f"cannot run: node {one.node} ({one.op}, {one.output!r}): {one.why}")
    if require_full_delegation and left:
        remark(f"not fully delegated: {left}")
    raise typer.Exit(int(failed))


def _lowered(
    model: str,
    target: Target,
    recipe: str | None,
    data: str | None,
    soc: str | None,
    shapes: tuple[str, ...],
    progress: Progress,
) -> Path:
    """The file to examine: the model itself where it is one of the target's."""
    if model.endswith(target.suffix) and recipe is None:
        return with_shapes(Path(model), shapes, default_cache(), progress)
    chosen = load_recipe(recipe) if recipe else None
    check_choices(target, model, data, chosen, soc=soc)
    request = Request(model, data_of(model, data), target, chosen, soc=soc, shapes=shapes)
    return prepared(request, compiled=False, progress=progress).lowered.path


def _show(report: PlacementReport, target: Target, soc: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "target": target.name,
                "soc": soc,
                "runs": not report.impossible,
                "fully_delegated": not report.left,
                "placement": report.placement,
                "left": report.left,
                "notes": report.notes,
            }
        )
        return
    stdout.print(f"{target.name}: {words.placement(report)}", highlight=False)
    stdout.print(placement_table(report.placement))
    for note in report.notes:
        remark(f"note: {note}")
