"""`edgefarm migrate`: brings the farm's database up to date."""

from pathlib import Path
from typing import Annotated

import typer

from farm.migration import migrate as migrate_database
from harness.cli.output import JsonOption, print_json, stdout
from harness.cli.queue import DatabaseOption


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="The farm")(migrate)


def migrate(
    backup: Annotated[
        Path | None,
        typer.Option(help="File for the backup of a SQLite database; by default beside it."),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the farm's database up to date with this edgefarm, after a backup.

    Stop its workers and servers first. Postgres keeps the backup in a schema of its own.
    """
    done = migrate_database(database, backup=backup)
    if as_json:
        print_json(done)
    elif done.backup is None:
        stdout.print(f"nothing to do: its tables are of version {done.after}", soft_wrap=True)
    else:
        told = f"migrated from version {done.before} to {done.after}; backup: {done.backup}"
        stdout.print(told, soft_wrap=True, highlight=False)
