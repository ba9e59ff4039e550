"""`edgefarm device`: which devices there are, and whether they can be used."""

from typing import Annotated

import typer

from farm.check import check_device
from farm.inventory import add_device, inventory_path, load_inventory, remove_device
from farm.transports import connect
from farm.transports.ssh import scan_host_key
from harness.cli.output import JsonOption, print_json, print_rows, remark, stdout
from harness.device import Address, Device
from harness.errors import UsageError
from targets import get_target

app = typer.Typer(
    no_args_is_help=True,
    help="Devices: the inventory farm.toml in edgefarm's home folder. `host` is always in it.",
)

NameArgument = Annotated[str, typer.Argument(help="Name of the device.")]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the devices."""
    devices = load_inventory(inventory_path()).devices
    if as_json:
        print_json(devices)
        return
    rows = [
        {
            "device": device.name,
            "targets": device.targets,
            "transport": device.transport,
            "address": _address(device),
            "core": device.core,
            "kind": "virtual" if device.virtual else "physical",
            "tags": device.tags,
        }
        for device in devices
    ]
    print_rows("Devices", rows, as_json=False)


@app.command()
def add(
    name: NameArgument,
    ssh: Annotated[str, typer.Option(help="Where it answers: USER@HOST or USER@HOST:PORT.")],
    target: Annotated[
        list[str], typer.Option(help="A target it can run, see `edgefarm targets`; repeatable.")
    ],
    accept_host_key: Annotated[
        str | None,
        typer.Option(help="The fingerprint (SHA256:…) that the device's own console shows."),
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(help="Private key to log in with; by default the agent's keys.")
    ] = None,
    core: Annotated[str | None, typer.Option(help="Its core, e.g. cortex-a76.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A word to choose it by; repeatable.")
    ] = None,
    python: Annotated[
        str, typer.Option(help="Its Python interpreter; empty for a device without one.")
    ] = "python3",
) -> None:
    """Register a board that is reached over SSH, its host key pinned.

    Without --accept-host-key the board's fingerprint is shown and nothing is added. Compare it on
    the board (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then repeat with the option.
    """
    for one in target:
        get_target(one)
    address = _parse_address(ssh, key_file)
    shown = scan_host_key(address.host, address.port)
    if accept_host_key is None:
        raise UsageError(
            f"{address.host}:{address.port} shows host key {shown}; compare it on the device "
            f"itself, then repeat with --accept-host-key {shown}"
        )
    if accept_host_key != shown:
        raise UsageError(
            f"{address.host}:{address.port} shows host key {shown}, "
            f"not the accepted {accept_host_key}; nothing was added"
        )
    device = Device(
        name=name,
        transport="ssh",
        targets=tuple(target),
        address=address,
        host_key=shown,
        tags=tuple(tag or ()),
        core=core,
        python=python or None,
    )
    add_device(inventory_path(), device)
    remark(f"added {name}; try it with: edgefarm device check {name}")


@app.command()
def remove(name: NameArgument) -> None:
    """Remove a device's entry; the device itself is left alone."""
    remove_device(inventory_path(), name)
    remark(f"removed {name}")


@app.command()
def check(name: NameArgument, as_json: JsonOption = False) -> None:
    """Look whether a device can be used: reach, disk, tools, runtimes; exit 3 when it cannot."""
    device = load_inventory(inventory_path()).get_device(name)
    found = check_device(device, connect)
    if as_json:
        print_json(found)
    else:
        rows = [
            {
                "": "✓" if one.ok else "✗",
                "check": one.name,
                "found": one.found,
                "remedy": one.remedy,
            }
            for one in found.items
        ]
        print_rows(f"Device {name}", rows, as_json=False)
    if not found.ok:
        raise typer.Exit(3)
    if not as_json:
        stdout.print(f"{name} can be used")


def _address(device: Device) -> str:
    if device.transport == "local":
        return "this machine"
    address = device.address
    user = f"{address.user}@" if address.user else ""
    return address.serial or f"{user}{address.host}:{address.port}"


def _parse_address(text: str, key_file: str | None) -> Address:
    user, at, place = text.rpartition("@")
    host, colon, port = place.partition(":")
    if not (at and user and host) or (colon and not port.isdigit()):
        raise UsageError(f"--ssh {text}: expected USER@HOST or USER@HOST:PORT")
    return Address(host=host, port=int(port or 22), user=user, key_file=key_file)
