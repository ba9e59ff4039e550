"""The `edgefarm` command: its groups, and the one place where errors become exit codes."""

import sys
from importlib import import_module
from io import TextIOWrapper

import typer

from harness import __version__
from harness.cli.output import fail, fail_unexpectedly, remark, stdout
from harness.errors import HarnessError
from harness.host.disk import host_full
from harness.sources.references import check_readable

COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluation": ("run", "quantize", "report"),
    "check": ("check",),
    "emulation": ("emulate", "compare", "verify"),
    "catalog": ("targets", "recipes", "profiles"),
    "demo": ("demo",),
    "queue": ("submit", "status", "watch", "cancel", "results", "logs"),
    "farm": ("worker", "top", "doctor", "metrics", "clean"),
    "migration": ("migrate",),
    "server": ("server", "token"),
    "devices": ("device",),
    "boards": ("board",),
    "nightly": ("nightly",),
}
"""Each module beside this one that has commands, and which. Each has a ``register(app)``."""


def build_app(command: str | None = None) -> typer.Typer:
    """The application: whole, or with the module of `command` alone, to start in half the time."""
    app = typer.Typer(
        name="edgefarm",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
        help=(
            "Quantize a model, run it on a board or phone, and compare the device with a "
            "bit-accurate host emulator.\n\n"
            "Exit codes: 0 pass · 1 the numbers or the model fail · 2 usage · 3 the machine failed."
        ),
    )
    needed = [module for module, names in COMMANDS.items() if command in names]
    for module in needed or COMMANDS:
        import_module(f"harness.cli.{module}").register(app)
    app.command(rich_help_panel="About")(version)
    return app


def version() -> None:
    """Print the version."""
    stdout.print(__version__)


def run_app() -> None:
    """Run the command line; every error ends as a message and one of the four exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that is not UTF-8 is shown with escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        for argument in sys.argv[1:]:
            check_readable(argument, "argument")
        build_app(*sys.argv[1:2])()
    except (HarnessError, OSError) as error:
        blamed = host_full(error) or error
        if not isinstance(blamed, HarnessError):
            fail_unexpectedly(blamed)
        fail(blamed, as_json="--json" in sys.argv[1:])
    except KeyboardInterrupt:
        remark("interrupted")
        raise SystemExit(130) from None
    except Exception as error:  # the last fence: a traceback never reaches a user
        fail_unexpectedly(error)
