"""`edgefarm worker`: serve the devices attached to this lab host."""

import signal
import socket
import threading
from typing import Annotated

import typer

from farm.database import open_database
from farm.inventory import inventory_path, load_inventory
from farm.logs import log_to
from farm.probing import golden_probe
from farm.transports import connect
from farm.work import Evaluation
from farm.worker import Settings, serve
from harness.cli.queue import DatabaseOption

_PANEL = "The farm"
_GIB = 1 << 30


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=_PANEL)(worker)


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

    Ctrl-C or SIGTERM drains: what runs is ended, nothing new begins. What a killed worker was doing
    goes on when it starts again.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log_to()
    farm = open_database(database)
    try:
        serve(
            farm,
            host,
            load_inventory(inventory_path()).devices,
            connect=connect,
            work=Evaluation(memory_bytes=int(memory * _GIB)),
            probe=golden_probe,
            stop=stop,
            settings=Settings(preparers=preparers, traces=tuple(traces or ())),
        )
    finally:
        farm.close()
