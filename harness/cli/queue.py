"""`edgefarm submit | status | watch | cancel | results | logs`: jobs of the farm."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from farm.database import Database, open_database
from farm.devices import register_devices
from farm.events import Event
from farm.inventory import HOST, inventory_path, load_inventory
from farm.job import job_request
from farm.jobs import JobStatus
from farm.queue import JobQueue, LocalQueue
from farm.remote import RemoteQueue
from harness.cli.options import (
    DataOption,
    ModelArgument,
    RecipeOption,
    SocOption,
    TargetOption,
    data_of,
)
from harness.cli.output import (
    JsonOption,
    after_result,
    print_json,
    print_rows,
    progress_bar,
    remark,
    stdout,
)
from harness.errors import UsageError
from harness.judge.limits import Limits, load_limits
from harness.protocol import Kernels
from harness.recipe import load_recipe
from harness.records import Outcome, exit_code
from harness.target import RunnerName
from reports.html import write_report
from reports.store import save_run
from reports.tables import runs_table

_PANEL = "The farm"
SERVER_VARIABLE = "EDGEFARM_SERVER"

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        envvar="EDGEFARM_DATABASE",
        help="The farm's database, postgresql://…; by default a file in edgefarm's home folder.",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(envvar=SERVER_VARIABLE, help="Speak to this server instead: https://…"),
]
TokenOption = Annotated[
    str,
    typer.Option(envvar="EDGEFARM_TOKEN", help="Of the server; better in the environment."),
]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (submit, status, watch, cancel, results, logs):
        app.command(rich_help_panel=_PANEL)(command)


@contextmanager
def opened(database: str | None, server: str | None = None, token: str = "") -> Iterator[JobQueue]:
    """The queue that the commands speak to: of a server, or of a database."""
    if server is not None:
        with progress_bar() as progress:
            yield RemoteQueue(server, token, progress)
        return
    farm = open_database(database)
    try:
        register_local_devices(farm, database)
        yield LocalQueue(farm)
    finally:
        farm.close()


def farm_here(database: str | None) -> Database:
    """The database itself, for what a server does not offer.

    Raises:
        UsageError: the caller speaks to a server and named no database: the one in the home folder
            would be another farm.
    """
    server = os.environ.get(SERVER_VARIABLE)
    if server and database is None:
        raise UsageError(
            f"{SERVER_VARIABLE} is set ({server}), but this command works on a farm's database, "
            "which a server does not offer: run it on a machine of the farm, name the database "
            f"with --database or EDGEFARM_DATABASE, or unset {SERVER_VARIABLE}"
        )
    return open_database(database)


def register_local_devices(farm: Database, named: str | None) -> None:
    """Make this machine's inventory known to its own database; a shared one knows its workers'."""
    if named is None:
        devices = load_inventory(inventory_path()).devices
        register_devices(farm, [one for one in devices if one.name != HOST])


def submit(
    model: ModelArgument,
    target: TargetOption,
    data: DataOption = None,
    recipe: RecipeOption = None,
    soc: SocOption = None,
    on: Annotated[
        str,
        typer.Option(
            help="Which devices: tag=WORD, name=DEVICE, host=LABHOST, kind=physical, count=N, each."
        ),
    ] = "",
    limits: Annotated[
        Path | None, typer.Option(help="limits.toml: what the runs must hold to pass.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Evaluate at most this many samples.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    kernels: Annotated[Kernels, typer.Option(help="LiteRT's kernels.")] = "xnnpack",
    runner: Annotated[RunnerName | None, typer.Option(help="Program on the device.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Measure latency briefly.")] = False,
    priority: Annotated[int, typer.Option(help="Higher goes first; -100 to 100.")] = 0,
    after: Annotated[str | None, typer.Option(help="A job that must pass first.")] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for one attempt.")] = 3600.0,
    label: Annotated[
        str, typer.Option(help="Words of your own; jobs with different ones are never merged.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job; exit as it ends.")] = False,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put a job in line for the farm's devices; prints its id.

    Example: edgefarm submit zoo:digits-cnn --target TARGET --recipe static_wi8_ai8 --on tag=lab2
    """
    request = job_request(
        {
            "model": absolute(model),
            "data": absolute(data_of(model, data)),
            "target": target,
            "recipe": load_recipe(recipe) if recipe else None,
            "soc": soc,
            "limits": load_limits(limits) if limits else Limits(),
            "measure": "quick" if quick else "standard",
            "kernels": kernels,
            "threads": threads,
            "runner": runner,
            "samples": samples,
            "selector": on,
            "priority": priority,
            "depends_on": after,
            "time_limit_s": time_limit,
            "label": label,
        }
    )
    with opened(database, server, token) as queue:
        job = queue.submit(request)
        if not wait:
            print_json({"job": job}) if as_json else stdout.print(job, highlight=False)
            return
        remark(f"job {job}")
        _print_events(queue.watch(job), as_json=False, to_stderr=True)
        ended = queue.status(job)
    _print_status(ended, as_json=as_json)
    raise typer.Exit(_exit_code(ended))


def status(
    job: Annotated[str | None, typer.Argument(help="Id of a job; none for the newest.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    mine: Annotated[bool, typer.Option("--mine", help="Only the jobs that you submitted.")] = False,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show how a job stands, or the newest jobs."""
    with opened(database, server, token) as queue:
        if job is not None:
            _print_status(queue.status(job), as_json=as_json)
            return
        found = queue.recent(limit, mine=mine)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "job": one.id,
            "model": one.request.model_name(),
            "state": one.outcome or one.state,
            "by": one.request.submitter,
            "target": one.request.target,
            "devices": sorted({part.device for part in one.parts if part.device}),
            "submitted": clock(one.created)[5:16],
        }
        for one in found
    ]
    print_rows("Jobs, newest first", rows, as_json=False, names=2)


def watch(
    job: JobArgument,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Follow a job until it is done; the exit code is that of its outcome: 0, 1 or 3."""
    with opened(database, server, token) as queue:
        _print_events(queue.watch(job), as_json=as_json)
        ended = queue.status(job)
    raise typer.Exit(_exit_code(ended))


def logs(
    job: JobArgument,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what has happened to a job so far."""
    with opened(database, server, token) as queue:
        _print_events(queue.events(job), as_json=as_json)


def cancel(
    job: JobArgument,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
) -> None:
    """End a job of yours: at once in line, within seconds on a device.

    Others' jobs are ended by an operator: on a server a token of role operate; on a database root,
    or whoever owns its file.
    """
    with opened(database, server, token) as queue:
        ended = queue.cancel(job)
    remark(f"{job}: cancelled" if ended else f"{job}: had ended already")


def results(
    job: JobArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder for run.json files and a report.html.")
    ] = None,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a job's runs; exit code 0 when it passed, 4 when something looks wrong (WARN), 1 when
    the numbers fail, 3 the machine."""
    with opened(database, server, token) as queue:
        runs, standing = queue.results(job), queue.status(job)
    if standing.state != "done":
        raise UsageError(f"job {job}: {standing.state}; follow it with `edgefarm watch {job}`")
    if as_json:
        print_json(runs)
    else:
        if runs:
            stdout.print(runs_table(runs))
        for part in standing.parts:
            if part.run is None:
                remark(f"{part.id}: {part.outcome}: {part.message}")
    if out is not None:
        with after_result():
            for run in runs:
                save_run(run, out)
            if runs:
                write_report(runs, out / "report.html")
    raise typer.Exit(_exit_code(standing))


def _exit_code(job: JobStatus) -> int:
    """Of a job that is done."""
    return exit_code([job.outcome or Outcome.ERROR])


def absolute(reference: str) -> str:
    """A reference as a worker in another folder finds it, too."""
    path, colon, function = reference.rpartition(":")
    if Path(reference).exists():
        return str(Path(reference).absolute())
    if colon and Path(path).is_file():
        return f"{Path(path).absolute()}:{function}"
    return reference


def _print_status(job: JobStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    rows = [
        {
            "part": part.id,
            "state": part.state,
            "outcome": part.outcome,
            "device": part.device,
            "attempt": part.attempt,
            "message": part.message,
        }
        for part in job.parts
    ]
    by = f", by {job.request.submitter}" if job.request.submitter else ""
    by += f", {job.request.model_name()} on {job.request.target}"
    print_rows(f"Job {job.id}{by}: {job.outcome or job.state}", rows, as_json=False)


def _print_events(events: Iterable[Event], *, as_json: bool, to_stderr: bool = False) -> None:
    for event in events:
        if as_json:
            print_json(event)
            continue
        words = (clock(event.at), event.device, event.kind, event.message)
        line = "  ".join(word for word in words if word)
        remark(line) if to_stderr else stdout.print(line, highlight=False)


def clock(at: float) -> str:
    """A time of the database for people."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"
