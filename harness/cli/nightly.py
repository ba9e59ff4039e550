"""`edgefarm nightly`: models x recipes x devices of one file, now or by the clock."""

import signal
import threading
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from farm.database import Database
from farm.jobs import results
from farm.logs import log_to
from farm.nightly.history import past_runs
from farm.nightly.night import run_night
from farm.nightly.notify import notify
from farm.nightly.plan import Plan, load_plan, plan_schema
from farm.nightly.summary import Summary, write_junit
from harness.cli.output import JsonOption, after_result, print_json, print_rows, remark, stdout
from harness.cli.queue import DatabaseOption, farm_here, register_local_devices
from harness.host.extras import require_extra
from reports import words
from reports.html import write_report
from reports.regressions import NIGHTS, latest_changes
from reports.store import save_run

_group = typer.Typer(
    no_args_is_help=True,
    help="The nightly run: every model of a nightly.toml with every recipe on every device.",
)

PlanArgument = Annotated[Path, typer.Argument(help="A nightly.toml.", metavar="FILE")]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Folder for each night's run.json files, report.html and junit.xml."),
]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(_group, name="nightly", rich_help_panel="The farm")


@_group.command()
def run(
    plan: PlanArgument,
    out: OutOption = None,
    night: Annotated[
        str | None, typer.Option(help="Name of the night; a broken-off one of that name goes on.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a night now and wait for it. Exit code 0 all passed, 1 the numbers, 3 a machine.

    Example: edgefarm nightly run examples/nightly.toml
    """
    loaded = load_plan(plan)
    require_extra("trends", "scipy")
    named = night or f"{loaded.nightly.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    farm = farm_here(database)
    try:
        register_local_devices(farm, database)
        summary = _timed(farm, loaded, run_night(farm, loaded, named, say=remark))
        if as_json:
            print_json({**asdict(summary), "exit_code": summary.exit_code})
        else:
            _show(summary)
        with after_result():
            _report(farm, loaded, summary, out)
    finally:
        farm.close()
    raise typer.Exit(summary.exit_code)


@_group.command()
def schedule(
    plan: PlanArgument,
    out: OutOption = Path("edgefarm-nightly"),
    database: DatabaseOption = None,
) -> None:
    """Run the plan's nights by its cron schedule, until stopped; a service beside the workers.

    A night under way goes on when the service starts again; missed ones are made up for by the
    latest, or skipped, as the plan says.
    """
    from farm.nightly.schedule import serve_schedule

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log_to()
    loaded = load_plan(plan)
    farm = farm_here(database)
    try:
        register_local_devices(farm, database)
        serve_schedule(
            farm,
            loaded,
            lambda which, summary: _report(farm, which, _timed(farm, which, summary), out),
            stop=stop,
        )
    finally:
        farm.close()


@_group.command()
def schema() -> None:
    """Print the JSON schema of nightly.toml, for editors."""
    print_json(plan_schema())


def _timed(farm: Database, plan: Plan, summary: Summary) -> Summary:
    """The summary with every latency judged against the nights before."""
    on_device = Counter(row.device for row in summary.rows if row.device is not None)
    newest = {device: rows * NIGHTS for device, rows in on_device.items()}
    found = {one.run: one.change for one in latest_changes(past_runs(farm, newest))}
    fails = plan.nightly.slower == "fail"
    rows = [
        row.timed(words.latency_change(change), slower=change.verdict == "slower", fails=fails)
        if (change := found.get(row.run or ""))
        else row
        for row in summary.rows
    ]
    return replace(summary, rows=tuple(rows))


def _report(farm: Database, plan: Plan, summary: Summary, out: Path | None) -> None:
    """Write the files of a night and tell whoever wants to know, even if there is no place left."""
    try:
        if out is not None:
            _write(farm, summary, out / summary.night)
    finally:
        for problem in notify(summary, plan.notify):
            remark(problem)


def _write(farm: Database, summary: Summary, folder: Path) -> None:
    jobs = dict.fromkeys(row.job for row in summary.rows if row.job is not None)
    runs = [run for job in jobs for run in results(farm, job)]
    for one in runs:
        save_run(one, folder)
    if runs:
        remark(f"report: {write_report(runs, folder / 'report.html')}")
    write_junit(summary, folder / "junit.xml")


def _show(summary: Summary) -> None:
    judged = any(row.latency for row in summary.rows)
    rows = [
        {
            "outcome": row.outcome,
            "model": row.model,
            "recipe": row.recipe,
            "device": row.device or f"({row.target})",
            "seconds": None if row.seconds is None else f"{row.seconds:.0f}",
            **({"latency": row.latency} if judged else {}),
            "message": row.message,
        }
        for row in summary.rows
    ]
    print_rows(summary.headline, rows, as_json=False)
    for note in summary.notes:
        remark(f"note: {note}")
    stdout.print(f"night {summary.night}", highlight=False)
