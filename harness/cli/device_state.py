"""`edgefarm device state | history | maintenance | quarantine | resume | schema`."""

from typing import Annotated

import typer

from farm.devices import known_devices
from farm.health import by_hand
from farm.inventory import inventory_schema
from farm.observation import health_changes, order
from harness.cli.output import JsonOption, print_json, print_rows, remark
from harness.cli.queue import DatabaseOption, clock, farm_here

NameArgument = Annotated[str, typer.Argument(help="Name of the device.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept with the transition.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group `device`."""
    for command in (state, history, maintenance, quarantine, resume, schema):
        app.command()(command)


def state(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show what the farm knows of the devices: health, who has them, when they last answered."""
    with farm_here(database).begin() as connection:
        known = known_devices(connection)
    if as_json:
        print_json(known)
        return
    rows = [
        {
            "device": one.device.name,
            "lab host": one.host,
            "health": one.health,
            "since": clock(one.since),
            "in use by": one.holder,
            "last seen": None if one.last_seen is None else clock(one.last_seen),
            "cause": one.cause[:80],
        }
        for one in known
    ]
    print_rows("Devices in the farm", rows, as_json=False)


def history(
    name: Annotated[str | None, typer.Argument(help="Name of a device; none for all.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how devices' health has changed, and why, newest first."""
    changes = health_changes(farm_here(database), name, limit)
    if as_json:
        print_json(changes)
        return
    rows = [
        {
            "at": clock(one.at),
            "device": one.device,
            "from": one.before,
            "to": one.after,
            "cause": one.cause,
        }
        for one in changes
    ]
    print_rows("Health", rows, as_json=False)


def maintenance(
    name: NameArgument, reason: ReasonOption = "", database: DatabaseOption = None
) -> None:
    """Take a device out for work on it; what runs there now is ended first."""
    order(farm_here(database), name, by_hand("maintenance", reason))
    remark(f"{name}: in maintenance; bring it back with: edgefarm device resume {name}")


def quarantine(
    name: NameArgument, reason: ReasonOption = "", database: DatabaseOption = None
) -> None:
    """Take a device out until a person brings it back."""
    order(farm_here(database), name, by_hand("quarantined", reason))
    remark(f"{name}: quarantined; bring it back with: edgefarm device resume {name}")


def resume(name: NameArgument, reason: ReasonOption = "", database: DatabaseOption = None) -> None:
    """Bring a device back: it is probed with the golden model, and healthy when that passes."""
    order(farm_here(database), name, by_hand("suspect", reason))
    remark(f"{name}: will be probed")


def schema() -> None:
    """Print the JSON Schema of farm.toml, for editors."""
    print_json(inventory_schema())
