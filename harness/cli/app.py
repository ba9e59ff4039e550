"""The `edgefarm` command: its groups, and the one place where errors become exit codes."""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from harness import __version__
from harness.cli.commands import COMMANDS
from harness.cli.output import fail, fail_unexpectedly, remark, stdout
from harness.errors import HarnessError
from harness.host.disk import host_full
from harness.sources.references import check_readable


class _OnDemand(TyperGroup):
    """Imports a command when it is asked for; the help needs only what the table says."""

    _for_help = False

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  click's own
        super().__init__(*args, **options)
        self._modules: dict[str, str] = {}
        for panel, modules in COMMANDS.items():
            for module, summaries in modules.items():
                for name, summary in summaries.items():
                    self._modules[name] = module
                    self.add_command(TyperCommand(name, help=summary, rich_help_panel=panel))
        self.commands["version"] = self.commands.pop("version")  # the last one

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  typer's own click
        """The command itself, or for the help only what the table says of it."""
        if self._for_help or cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        part = typer.Typer(rich_markup_mode="rich")
        part.callback()(_whole)
        import_module(f"harness.cli.{self._modules[cmd_name]}").register(part)
        group: Any = typer.main.get_command(part)
        return group.get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  as above
        """Print the help."""
        self._for_help = True
        super().format_help(ctx, formatter)


def _whole() -> None:
    """Without a callback, typer makes a group of one command that command."""


def build_app() -> typer.Typer:
    """The application."""
    app = typer.Typer(
        name="edgefarm",
        cls=_OnDemand,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
        help=(
            "Quantize a model, run it on a board or phone, and compare the device with a "
            "bit-accurate host emulator.\n\n"
            "Exit codes: 0 pass · 1 the numbers or the model fail · 2 usage · 3 the machine failed "
            "· 4 something looks wrong."
        ),
    )
    app.callback()(_whole)
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
        build_app()()
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
