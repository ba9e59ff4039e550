"""`edgefarm worker | top | doctor | metrics | clean`: the farm's processes, and the look at it."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, NoReturn

import typer
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from farm.database import open_database
from farm.doctor import examine, inventory_item
from farm.inventory import inventory_path, load_inventory
from farm.job_files import Fetching, default_store
from farm.logs import log_to
from farm.metrics import render_metrics, serve_metrics
from farm.probing import golden_probe
from farm.remote import RemoteQueue
from farm.retention import RetentionPolicy, forget
from farm.snapshot import Snapshot, take_snapshot
from farm.transports import connect
from farm.work import Evaluation
from farm.worker import Settings, serve
from harness.cli.output import JsonOption, print_json, print_rows, stdout
from harness.cli.queue import DatabaseOption, ServerOption, TokenOption, farm_here
from harness.host.cache import default_cache
from harness.host.scratch import remove_abandoned

_PANEL = "The farm"
_GIB = 1 << 30


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (worker, top, doctor, metrics, clean):
        app.command(rich_help_panel=_PANEL)(command)


def worker(
    host: Annotated[
        str, typer.Option(help="Name of this lab host; the built-in device goes by it, too.")
    ] = socket.gethostname(),
    preparers: Annotated[
        int, typer.Option(min=1, help="Artifacts that are made at the same time.")
    ] = 1,
    memory: Annotated[
        float, typer.Option(min=0.5, help="GiB that one job's process may use on this host.")
    ] = 8.0,
    traces: Annotated[
        list[str] | None, typer.Option(help="OTLP endpoint for traces, http://…; repeatable.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Serve this lab host's devices: take jobs, probe, quarantine; log JSON lines on stderr.

    Ctrl-C or SIGTERM drains: jobs that run are waited for, nothing new begins; a second one ends at
    once. What a killed worker was doing goes on when it starts again.
    """
    stop = threading.Event()

    def drain(number: int, _frame: object) -> None:
        if stop.is_set():
            _end_at_once(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, drain)
    log_to()
    remove_abandoned()
    inventory = load_inventory(inventory_path())
    farm = open_database(database)
    evaluation = Evaluation(memory_bytes=int(memory * _GIB))
    try:
        serve(
            farm,
            host,
            inventory.served_by(host),
            connect=connect,
            work=Fetching(evaluation, farm, default_store(), default_cache()),
            probe=partial(golden_probe, golden=inventory.golden),
            stop=stop,
            settings=Settings(preparers=preparers, traces=tuple(traces or ())),
        )
    finally:
        farm.close()
    _end_at_once(0)


def _end_at_once(status: int) -> NoReturn:
    """End without waiting for threads: a preparation in one may take hours, and goes on when the
    worker starts again. Processes of our own end with this one."""
    sys.stdout.flush()
    os._exit(status)


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Watch the farm: workers, devices, what runs where, and the line; Ctrl-C ends."""
    look = _looking(database, server, token)
    if as_json:
        print_json(look())
        return
    if once:
        stdout.print(_picture(look()))
        return
    with Live(_picture(look()), console=stdout, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(_picture(look()))


def _looking(database: str | None, server: str | None, token: str) -> Callable[[], Snapshot]:
    """How to look at the farm: through its server, or in its database."""
    if server is not None:
        return RemoteQueue(server, token).snapshot
    return partial(take_snapshot, open_database(database))


def doctor(
    database: DatabaseOption = None,
    server: ServerOption = None,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Look at this host, database, workers, devices and disk; exit 3 when something is amiss.

    With a server it is the server's host that is looked at; its token needs the role operate.
    """
    if server is not None:
        items, where = RemoteQueue(server, token).examine(), f"The farm from {server}"
    else:
        inventory, devices = inventory_item()
        items, where = [inventory, *examine(open_database(database), devices)], "The farm from here"
    rows = [
        {
            "": "✓" if one.ok else "✗",
            "looked at": one.name,
            "found": one.found,
            "remedy": one.remedy,
        }
        for one in items
    ]
    if as_json:
        print_json(items)
    else:
        print_rows(where, rows, as_json=False)
    if not all(one.ok for one in items):
        raise typer.Exit(3)


def metrics(
    port: Annotated[
        int | None, typer.Option(min=1, help="Serve them on this port of loopback instead.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Print the farm's metrics for Prometheus, or serve them until Ctrl-C."""
    farm = farm_here(database)
    if port is None:
        sys.stdout.write(render_metrics(farm).decode())
        return
    serve_metrics(farm, port)


def clean(
    host: Annotated[str, typer.Option(help="Name of this lab host.")] = socket.gethostname(),
    keep_days: Annotated[
        float, typer.Option(min=0, help="Uploads, artifacts and tensors.")
    ] = RetentionPolicy.cache_days,
    cache_gib: Annotated[float, typer.Option(min=0, help="What the cache may hold.")] = 50.0,
    every: Annotated[
        float | None, typer.Option(min=0.01, help="Do it every so many hours, until stopped.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget what can be made again: old artifacts, uploads, events and steps; results stay.

    Uploads are kept while a job that needs them is live.
    """
    policy = RetentionPolicy(
        cache_days=keep_days, files_days=keep_days, cache_bytes=int(cache_gib * _GIB)
    )
    farm = farm_here(database)
    while True:
        gone = forget(farm, default_cache(), default_store(), host, policy)
        if as_json:
            print_json(gone)
        else:
            stdout.print(
                f"cache: {gone.cache_entries} entries, {gone.cache_bytes >> 20} MiB; "
                f"{gone.files} files; {gone.events} events; {gone.workflows} workflows; "
                f"{gone.scratch_folders} scratch folders",
                highlight=False,
            )
        if every is None:
            return
        time.sleep(every * 3600)


def _picture(seen: Snapshot) -> Group:
    devices = Table(title="Devices", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("device", "lab host", "health", "for", "last seen"):
        devices.add_column(column, overflow="fold", no_wrap=column == "device")
    # Ids are there to be copied: in a column they would be broken over lines.
    notes = []
    for one in seen.devices:
        devices.add_row(
            one.device.name,
            one.host or "",
            Text(one.health, style="" if one.health == "healthy" else "bold red"),
            _ago(seen.at - one.since),
            "" if one.last_seen is None else _ago(seen.at - one.last_seen),
        )
        job = seen.running.get(one.device.name)
        if held := job or (one.holder and f"in use by {one.holder}"):
            notes.append(Text(f"{one.device.name}: {held}", no_wrap=True, overflow="ignore"))
        if one.health != "healthy" and one.cause:
            notes.append(Text(f"{one.device.name}: {one.health}: {one.cause[:200]}"))
    workers = ", ".join(
        f"{one.host}{' (draining)' if one.draining else ''} {_ago(one.silent_s)}"
        for one in seen.workers
    )
    line = ", ".join(f"{count} {state}" for state, count in sorted(seen.parts.items())) or "empty"
    ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(seen.jobs.items()))
    words = f"workers: {workers or 'none'}\nin line: {line}\nended:   {ended or 'none'}"
    return Group(Text(words), devices, *notes)


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
