"""The `edgefarm` command: its groups, and the one place where errors become exit codes."""

import sys

import typer

from harness import __version__
from harness.cli import (
    boards,
    catalog,
    check,
    demo,
    device_state,
    devices,
    emulation,
    evaluation,
    farm,
    nightly,
    queue,
    server,
)
from harness.cli.output import fail, fail_unexpectedly, stdout
from harness.errors import HarnessError

app = typer.Typer(
    name="edgefarm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help=(
        "Quantize a model, run it on a board or phone, and compare the device with a bit-accurate "
        "host emulator.\n\n"
        "Exit codes: 0 pass · 1 the numbers or the model fail · 2 usage · 3 the machine failed."
    ),
)
for module in (evaluation, check, emulation, catalog, demo, queue, farm, server):
    module.register(app)
device_state.register(devices.app)
app.add_typer(devices.app, name="device")
app.add_typer(boards.app, name="board")
app.add_typer(nightly.app, name="nightly", rich_help_panel="The farm")


@app.command(rich_help_panel="About")
def version() -> None:
    """Print the version."""
    stdout.print(__version__)


def run_app() -> None:
    """Run the command line; every error ends as a message and one of the four exit codes."""
    try:
        app()
    except HarnessError as error:
        fail(error, as_json="--json" in sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:  # the last fence: a traceback never reaches a user
        fail_unexpectedly(error)
