"""`edgefarm demo`: the main job once, on a real model and a (virtual) board."""

from pathlib import Path
from typing import Annotated

import typer

from farm.inventory import host_device, inventory_path, put_device
from farm.transports import connect
from farm.virtual import boards
from farm.virtual.requirements import missing
from harness.cli.output import JsonOption, after_result, print_json, progress_bar, remark, stdout
from harness.device import Device
from harness.evaluate import evaluate
from harness.host.home import home
from harness.host.progress import Progress
from harness.on_device.deploy import MeasurePlan
from harness.recipe import RECIPES
from harness.records import Outcome, Run, exit_code
from harness.request import Request
from reports.html import write_report
from reports.store import save_run
from reports.tables import runs_table
from targets import get_target

_MODEL = "zoo:efficientnet-lite0"
_BOARD = "demo-a76"
_HARMFUL = "static_wi8_ai8_per_tensor"
"""One scale for all channels of a depthwise convolution: its WARN is what the row is to show."""
_ON_BOARD = (
    ("arm-neon-litert", "float"),
    ("arm-neon-litert", "static_wi8_ai8"),
    ("arm-neon-litert", _HARMFUL),
)
_ON_HOST = (
    ("host-litert", "float"),
    ("host-litert", "static_wi8_ai8"),
    ("host-litert", _HARMFUL),
    ("host-executorch", "static_wi8_ai8"),
)
_MEASURE = MeasurePlan(restarts=1, warmup_runs=1, timed_runs=5, min_time_s=0.0)
"""Brief, because QEMU takes seconds for an inference and its time is not a board's anyway."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="Evaluate a model")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs and report.html.")] = Path(
        "demo-out"
    ),
    as_json: JsonOption = False,
) -> None:
    """Evaluate EfficientNet-Lite0, float and int8, on a virtual Cortex-A76 board and on this host.

    Without QEMU, or where the kernel forbids namespaces, it runs the host's rows and says what is
    missing for the board.
    The rows with one scale per tensor may end with WARN, which is what they show: the exit code is
    0 all the same, when this installation works.
    """
    with progress_bar() as progress:
        board = _board(progress)
        jobs = [(board, *job) for job in _ON_BOARD if board]
        jobs += [(host_device(), *job) for job in _ON_HOST]
        runs = [_run(device, target, recipe, progress) for device, target, recipe in jobs if device]
    if as_json:
        print_json(runs)
    else:
        stdout.print(runs_table(runs))
    with after_result():
        for run in runs:
            save_run(run, out)
        page = write_report(runs, out / "report.html")
    if not as_json:
        stdout.print(f"report: {page.resolve()}", soft_wrap=True, highlight=False)
    raise typer.Exit(exit_code(run.outcome for run in runs if not _shows_harm(run)))


def _shows_harm(run: Run) -> bool:
    """Whether a run looks wrong because that is what its recipe is shown for."""
    return run.recipe == _HARMFUL and run.outcome is Outcome.WARN


def _board(progress: Progress) -> Device | None:
    """The demo's board, made and started where needed; None where it cannot be."""
    if lacking := missing():
        remark("the board's rows are left out; virtual boards need:\n  " + "\n  ".join(lacking))
        return None
    if _BOARD not in [board.name for board in boards.list_boards(home())]:
        boards.create_board(_BOARD, core="cortex-a76", home=home(), progress=progress)
    device = boards.device_of(boards.start_board(_BOARD, home=home(), progress=progress))
    put_device(inventory_path(), device)
    return device


def _run(device: Device, target: str, recipe: str, progress: Progress) -> Run:
    def on_device(stage: str, done: int, total: int | None) -> None:
        progress(f"{recipe} on {device.name}: {stage}", done, total)

    request = Request(
        model=_MODEL,
        data=_MODEL,
        target=get_target(target),
        recipe=RECIPES[recipe],
        device=device,
        host=host_device(),
        measure=_MEASURE,
    )
    return evaluate(request, connect, progress=on_device)
