"""`edgefarm targets | recipes | profiles`: what there is to choose from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.cli.output import JsonOption, print_json, print_rows, stdout
from harness.cli.recipes import recipes_app
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.target import Target

_PANEL = "What there is"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=_PANEL)(targets)
    app.add_typer(recipes_app, name="recipes", rich_help_panel=_PANEL)
    app.add_typer(profiles_app, name="profiles", rich_help_panel=_PANEL)


def targets(as_json: JsonOption = False) -> None:
    """List the targets: machine, runtime, recipes, and what was verified on what."""
    from targets import all_targets

    rows: list[dict[str, str | list[str]]] = [
        {
            "target": target.name,
            "runtime": target.runtime,
            "machine": target.machine or "any",
            "summary": target.summary,
            "recipes": list(target.recipes),
            "chips": list(target.socs),
            "emulator": _emulator(target),
            "verified": target.evidence,
        }
        for target in all_targets().values()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        stdout.print(_target_card(row))


def _target_card(row: dict[str, str | list[str]]) -> Group:
    """One target on as many lines as its words need: a table of them has no room for any."""
    card = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    card.add_column(style="dim", no_wrap=True)
    card.add_column()
    for key, value in row.items():
        said = ", ".join(value) if isinstance(value, list) else value
        if said and key not in ("target", "summary"):
            card.add_row(f"  {key}", Text(said))
    head = Text.assemble((str(row["target"]), "bold"), f": {row['summary']}")
    return Group(head, card, Text())


def _emulator(target: "Target") -> str:
    """Which emulator stands for a target, and how its arithmetic is known."""
    if target.vendor is not None:
        return f"{target.vendor.name}@CHIP: the vendor's own"
    name = target.profile_without_device(None)
    if name is None:
        return "by what runs on the device: see `edgefarm profiles`"
    return f"{name}: `edgefarm profiles show {name}` has its evidence"


profiles_app = typer.Typer(
    invoke_without_command=True,
    help=(
        "List the emulator's profiles.\n\nA profile says, for each kind of node, which integer "
        "arithmetic a runtime uses, how that is known (SOURCE, MEASURED or ASSUMED), and where."
    ),
)


@profiles_app.callback()
def profiles(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the emulator's profiles."""
    if context.invoked_subcommand is None:
        from harness.cli.vendor import vendor_profiles
        from harness.emulator.profiles import all_profiles

        rows = [{"profile": p.name, "stands for": p.summary} for p in all_profiles().values()]
        rows += vendor_profiles()
        print_rows("Profiles", rows, as_json=as_json)


@profiles_app.command()
def show(
    name: Annotated[str, typer.Argument(help="A profile, e.g. litert-xnnpack-x86.")],
    as_json: JsonOption = False,
) -> None:
    """Show the entries of one profile, with their evidence."""
    from harness.cli.vendor import vendor_target
    from harness.emulator.profiles import get_profile

    if (target := vendor_target(name)) is not None:
        raise UsageError(
            f"profile {name}: the vendor's own emulator computes it, there are no entries of ours; "
            f"see `edgefarm targets`, {target.name}"
        )
    rows = [
        {
            "ops": list(entry.ops),
            "dtypes": list(entry.dtypes),
            "when": entry.condition,
            "semantics": entry.semantics,
            "evidence": entry.evidence.value,
            "reference": entry.reference,
        }
        for entry in get_profile(name).entries
    ]
    print_rows(f"Profile {name}", rows, as_json=as_json)


@profiles_app.command()
def matrix(
    update_file: Annotated[
        Path | None,
        typer.Option(
            "--update", help="Put it between the markers of this file, e.g. docs/promises.md."
        ),
    ] = None,
) -> None:
    """Print, in Markdown, what every profile promises of every op: exact, assumed or float."""
    from harness.emulator.profiles import PROFILES
    from harness.emulator.promises import matrix_text, update

    if update_file is None:
        stdout.print(matrix_text(tuple(PROFILES.values())), soft_wrap=True, end="")
    else:
        changed = update(update_file)
        stdout.print(f"{update_file}: {'updated' if changed else 'up to date'}", soft_wrap=True)
