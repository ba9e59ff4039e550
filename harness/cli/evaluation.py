"""`edgefarm run | quantize | report`: the straight way, its first half, and its last page."""

from pathlib import Path
from typing import Annotated

import typer

from farm.desk import at_the_desk
from farm.inventory import asked_device, host_device
from farm.transports import connect
from harness.artifact import manifest_path, save_artifact
from harness.cli.comparing import compare, several
from harness.cli.options import (
    DataOption,
    ModelArgument,
    RecipeOption,
    RecipesOption,
    RequireFullDelegation,
    ShapeOption,
    SocOption,
    TargetOption,
    data_of,
)
from harness.cli.output import (
    JsonOption,
    after_result,
    check_file,
    check_folder,
    print_json,
    progress_bar,
    remark,
    stdout,
)
from harness.cli.vendor import AcceptOption
from harness.errors import UsageError
from harness.judge.limits import Limits, PlacementLimits, load_limits
from harness.on_device.deploy import QUICK, STANDARD
from harness.prepare import prepared
from harness.protocol import Kernels
from harness.quantize.reached import reached_line
from harness.recipe import load_recipe
from harness.records import exit_code
from harness.request import Request
from harness.target import RunnerName
from reports.html import write_report
from reports.regressions import latest_changes
from reports.store import read_runs, save_run
from reports.tables import nights_table, run_detail, runs_table
from targets import get_target

_PANEL = "Evaluate a model"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=_PANEL)(run)
    app.command(rich_help_panel=_PANEL)(quantize)
    app.command(rich_help_panel=_PANEL)(report)


def run(
    model: ModelArgument,
    target: TargetOption,
    data: DataOption = None,
    recipe: RecipesOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="One of `edgefarm device list`. Default: this host where it can run the target, "
            "else none: emulation only."
        ),
    ] = None,
    soc: SocOption = None,
    shape: ShapeOption = None,
    limits: Annotated[
        Path | None, typer.Option(help="limits.toml: what the run must hold to pass.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for run.json and report.html.")] = Path(
        "edgefarm-out"
    ),
    samples: Annotated[
        int | None, typer.Option(min=1, help="Evaluate at most this many samples.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    kernels: Annotated[Kernels, typer.Option(help="LiteRT's kernels.")] = "xnnpack",
    runner: Annotated[
        RunnerName | None,
        typer.Option(help="Program on the device; native where it has no Python."),
    ] = None,
    require_full_delegation: RequireFullDelegation = False,
    accept_qualcomm_license: AcceptOption = False,  # noqa: ARG001  acts when it is parsed
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure latency briefly: one restart, few runs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Quantize a model, run it on a device, compare with the emulator, judge, report.

    Example: edgefarm run zoo:digits-cnn --target host-litert --recipe static_wi8_ai8 --quick

    With --recipe several times, or with --recipe all, the recipes are run one after another and
    shown beside each other and beside float, with what makes one slower than float; the exit code
    is the worst of them, and --json prints a list.

    Exit code 0 when the run passes, 4 when no limit fails but something looks wrong (WARN), 1 when
    the numbers or the model fail, 3 when the machine does.
    """
    from harness.evaluate import evaluate

    check_folder(out)
    recipes = recipe or []
    request = Request(
        model=model,
        data=data_of(model, data),
        target=get_target(target),
        recipe=load_recipe(recipes[0]) if recipes and not several(recipes) else None,
        device=asked_device(device, target),
        host=host_device(),
        limits=_limits(limits, full_delegation=require_full_delegation),
        measure=QUICK if quick else STANDARD,
        kernels=kernels,
        threads=threads,
        runner=runner,
        samples=samples,
        soc=soc,
        shapes=tuple(shape or ()),
    )
    if several(recipes):
        compare(request, recipes, out, as_json=as_json)
    with (
        progress_bar() as progress,
        at_the_desk(request.device, connect, what="run") as opened,
    ):
        result = evaluate(request, opened, progress=progress)
    if as_json:
        print_json(result)
    else:
        stdout.print(run_detail(result))
    with after_result():
        stored = save_run(result, out)
        page = write_report([result], stored.parent / "report.html")
    if not as_json:
        stdout.print(f"report: {page}", soft_wrap=True, highlight=False)
    raise typer.Exit(exit_code([result.outcome]))


def _limits(path: Path | None, *, full_delegation: bool) -> Limits:
    limits = load_limits(path) if path else Limits()
    if full_delegation:
        placement = PlacementLimits(full_delegation=True)
        limits = limits.model_copy(update={"placement": placement})
    return limits


def quantize(
    model: ModelArgument,
    target: TargetOption,
    out: Annotated[Path, typer.Option(help="Folder for the artifact and its manifest.")],
    recipe: RecipeOption = None,
    data: DataOption = None,
    soc: SocOption = None,
    shape: ShapeOption = None,
    accept_qualcomm_license: AcceptOption = False,  # noqa: ARG001  acts when it is parsed
    as_json: JsonOption = False,
) -> None:
    """Make the artifact of a model for a target, without a device.

    Example: edgefarm quantize zoo:digits-cnn --target host-litert --recipe static_wi8_ai8 --out a/
    """
    check_folder(out)
    chosen, where = load_recipe(recipe) if recipe else None, get_target(target)
    samples = data_of(model, data)
    request = Request(model, samples, where, chosen, soc=soc, shapes=tuple(shape or ()))
    with progress_bar() as progress:
        ready = prepared(request, progress=progress)
    artifact = save_artifact(ready.artifact, out)
    for note in (*ready.samples.notes, *artifact.manifest.notes):
        remark(f"note: {note}")
    for finding in artifact.manifest.findings:
        remark(f"{'warning' if finding.severity == 'warn' else 'note'}: {finding}")
    if as_json:
        print_json({"path": artifact.path, "manifest": artifact.manifest})
    else:
        stdout.print(f"{artifact.path}\n{manifest_path(artifact.path)}", soft_wrap=True)
        if line := reached_line(artifact.manifest.reached):
            stdout.print(line, soft_wrap=True, highlight=False, markup=False)


def report(
    folder: Annotated[Path, typer.Argument(help="A folder of runs, as `edgefarm run` writes it.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; by default FOLDER/report.html.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show all runs under a folder: a table here, and one self-contained page."""
    if out is not None:
        check_file(out)
    found, problems = read_runs(folder)
    for problem in problems:
        remark(problem)
    runs = [run for _path, run in found]
    if not runs:
        raise UsageError(f"{folder}: no run.json in it")
    if as_json:
        print_json(runs)
    else:
        stdout.print(runs_table(runs))
        if series := latest_changes(runs):
            stdout.print(nights_table(series))
    with after_result():
        page = write_report(runs, out or folder / "report.html")
    if not as_json:
        stdout.print(f"report: {page}", soft_wrap=True, highlight=False)
