"""`edgefarm tune`: the recipe that keeps a model within a budget."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from farm.desk import at_the_desk
from farm.inventory import asked_device, host_device
from farm.transports import connect
from harness.cli.options import (
    DataOption,
    ModelArgument,
    ShapeOption,
    SocOption,
    TargetOption,
    data_of,
)
from harness.cli.output import (
    JsonOption,
    after_result,
    check_folder,
    print_json,
    progress_bar,
    remark,
    stdout,
)
from harness.cli.vendor import AcceptOption
from harness.device import NO_DEVICE, Device
from harness.judge.diagnosis.remedies import command
from harness.request import Request
from harness.target import Target
from reports.html import write_report
from reports.store import save_run
from reports.tuning import trial_line, tuning_detail
from targets import get_target


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="Evaluate a model")(tune)


def tune(
    model: ModelArgument,
    target: TargetOption,
    data: DataOption = None,
    budget: Annotated[
        str,
        typer.Option(
            help="What the recipe may cost: drop=1% of the score below float, size=2MB, "
            "latency=5ms; any of them, with commas between."
        ),
    ] = "drop=1%",
    device: Annotated[
        str | None,
        typer.Option(
            help="Measure latency there, and evaluate the recommended recipe there. Default: "
            "latency of the same file on this host where it runs."
        ),
    ] = None,
    soc: SocOption = None,
    shape: ShapeOption = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="After these, no other recipe is tried.")
    ] = 30.0,
    trials: Annotated[int, typer.Option(min=1, help="Most recipes to try.")] = 60,
    out: Annotated[
        Path, typer.Option(help="Folder for recipe.json, run.json and report.html.")
    ] = Path("edgefarm-out"),
    accept_qualcomm_license: AcceptOption = False,  # noqa: ARG001  acts when it is parsed
    as_json: JsonOption = False,
) -> None:
    """Find the recipe that keeps a model within a budget: from cheap to dear, judged bit for bit.

    Example: edgefarm tune zoo:digits-cnn --target arm-neon-litert --budget drop=1%

    A part of the data is kept for choosing; the recommended recipe is evaluated once on the rest,
    and later runs of its file leave out what it was chosen by. A search that was stopped goes on
    where it was when the same command is given again.

    Exit code 0 when the recommended recipe is within the budget, 1 when nothing that was tried is.
    """
    from harness.tune.budget import parse_budget
    from harness.tune.search import Effort, recommending
    from harness.tune.search import tune as search

    check_folder(out)
    limits, where = parse_budget(budget), get_target(target)
    where_to = asked_device(device, target)
    request = Request(
        model=model,
        data=data_of(model, data),
        target=where,
        recipe=None,
        device=where_to,
        soc=soc,
        shapes=tuple(shape or ()),
    )
    timed_on, timed_as = (where_to, where) if device is not None else _timed_here(where)
    with (
        progress_bar() as progress,
        at_the_desk(request.device, connect, what="tune") as opened,
    ):
        found, choice = search(
            request,
            limits,
            opened,
            timed_on=timed_on,
            timed_as=timed_as,
            effort=Effort(minutes * 60, trials),
            told=lambda trial: None if as_json else remark(trial_line(trial)),
            progress=progress,
        )
    with after_result():
        if choice is not None:
            stored = save_run(choice.run, out)
            path = stored.parent / "recipe.json"
            found = recommending(found, choice, path, _command(request, path, device))
            page = write_report([choice.run], stored.parent / "report.html")
    if as_json:
        print_json(found)
    else:
        stdout.print(tuning_detail(found))
        if choice is not None:
            stdout.print(f"report: {page}", soft_wrap=True, highlight=False)
    good = found.recommended is not None and found.recommended.within_budget
    raise typer.Exit(0 if good else 1)


def _timed_here(target: Target) -> tuple[Device, Target]:
    """This host, and which of its targets runs the files there; their time tells which recipe is
    fast. No device where none does."""
    host = host_device()
    for own in map(get_target, host.targets):
        if target.compile is None and target.runtime == own.runtime:
            return host, own
    return NO_DEVICE, target


def _command(request: Request, recipe: Path, device: str | None) -> str:
    words = [command(request.model, request.target.name, str(recipe), str(request.data))]
    words += [f"--device {shlex.quote(device)}"] if device else []
    words += [f"--soc {shlex.quote(request.soc)}"] if request.soc else []
    return " ".join(words)
