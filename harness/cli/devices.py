"""`edgefarm device`: which devices there are, and whether they can be used."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from farm.desk import at_the_desk
from farm.device_check import check_device, check_golden
from farm.inventory import add_device, inventory_path, load_inventory, remove_device
from farm.inventory_file import check_core
from farm.phones import PHONE_TARGET, phone_from
from farm.transports import connect
from farm.transports.ssh import read_key, scan_host_key
from harness.cli import device_state
from harness.cli.output import JsonOption, print_json, print_rows, progress_bar, remark, stdout
from harness.cli.provision import provision_
from harness.device import Address, Device, RunPolicy
from harness.errors import DeviceError, UsageError
from harness.facts import told
from harness.on_device.pinning import pin_to
from harness.on_device.read_facts import read_facts
from targets import get_target

_group = typer.Typer(
    no_args_is_help=True,
    help="Devices: the inventory farm.toml in edgefarm's home folder. `host` is always in it.",
)

_PLACE = re.compile(
    r"(\[(?P<ipv6>[0-9A-Fa-f:.]+(%\w+)?)\]|(?P<host>[^:\[\]]+))(:(?P<port>[0-9]{1,5}))?"
)
_POLICY = RunPolicy()
MinBatteryOption = Annotated[
    int, typer.Option(min=0, max=100, help="Run nothing while its battery has less.")
]
MaxTemperatureOption = Annotated[
    float | None, typer.Option(min=1, max=150, help="Let it cool down first while it is hotter.")
]
CooldownOption = Annotated[
    float, typer.Option(min=0, max=86_400, help="Wait so long for that, then give up.")
]
CpusOption = Annotated[
    str | None, typer.Option(help="Keep the runner on these cores, e.g. 4-7 (taskset).")
]

_group.command("provision")(provision_)
device_state.register(_group)

NameArgument = Annotated[str, typer.Argument(help="Name of the device.")]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(_group, name="device", rich_help_panel="Devices")


@_group.command("list")
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


@_group.command()
def add(
    name: Annotated[
        str | None, typer.Argument(help="Name of the device; for a phone by default its model's.")
    ] = None,
    ssh: Annotated[
        str | None, typer.Option(help="A board: where it answers, USER@HOST or USER@HOST:PORT.")
    ] = None,
    adb: Annotated[
        str | None, typer.Option(help="A phone: its serial in `adb devices`, or HOST:PORT.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="A target it can run, see `edgefarm targets`; repeatable. "
            f"For a phone by default {PHONE_TARGET}."
        ),
    ] = None,
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
        str, typer.Option(help="A board's Python interpreter; empty for one without.")
    ] = "python3",
    min_battery_percent: MinBatteryOption = 0,
    max_temperature_c: MaxTemperatureOption = None,
    cooldown_s: CooldownOption = _POLICY.cooldown_s,
    cpus: CpusOption = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not log in to the board first.")
    ] = False,
) -> None:
    """Register a board that is reached over SSH, its host key pinned, or a phone over adb.

    Without --accept-host-key the board's fingerprint is shown and nothing is added. Compare it on
    the board (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then repeat with the option. The
    board is logged in to, and asked for its core, before it is added. A phone must be connected:
    it is asked what it is.
    """
    if (ssh is None) == (adb is None):
        raise UsageError("give either --ssh, for a board, or --adb, for a phone")
    for one in target or ():
        get_target(one)
    pin_to(cpus)
    check_core(core)
    policy = RunPolicy(min_battery_percent, max_temperature_c, cooldown_s, cpus)
    tags = tuple(tag or ())
    if adb is not None:
        device = phone_from(
            adb, connect, name=name, targets=tuple(target or ()), core=core, tags=tags
        )
    else:
        if name is None or not target:
            raise UsageError("a board needs a NAME and at least one --target")
        if key_file is not None:
            read_key(Path(key_file).expanduser(), name)
        address, shown = _pinned(str(ssh), key_file, accept_host_key)
        device = Device(
            name=name,
            transport="ssh",
            targets=tuple(target),
            address=address,
            host_key=shown,
            tags=tags,
            core=core,
            python=python or None,
        )
        if not no_check:
            _check_login(device)
    add_device(inventory_path(), replace(device, policy=policy))
    remark(f"added {device.name}; try it with: edgefarm device check {device.name}")


def _pinned(ssh: str, key_file: str | None, accept_host_key: str | None) -> tuple[Address, str]:
    """A board's address and host key; UsageError unless that key has been accepted."""
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
    return address, shown


def _check_login(device: Device) -> None:
    """Log in once, and hold the named core against the board's own.

    Raises:
        UsageError: the board has other cores.
        DeviceError: it cannot be logged in to.
    """
    try:
        with connect(device) as transport:
            cores = read_facts(transport).cores
    except DeviceError:
        remark(f"{device.name}: not added; to add a board that cannot answer now: --no-check")
        raise
    if device.core is not None and cores and device.core not in cores:
        raise UsageError(
            f"--core {device.core}: the board's own cores are {', '.join(cores)}; nothing was added"
        )


@_group.command()
def remove(name: NameArgument) -> None:
    """Remove a device's entry; the device itself is left alone."""
    remove_device(inventory_path(), name)
    remark(f"removed {name}")


@_group.command()
def check(name: NameArgument, as_json: JsonOption = False) -> None:
    """Look whether a device can be used; exit 3 when it cannot.

    Looks at reach, disk, tools and runtimes, then runs a golden model and compares it with the
    emulator.
    """
    inventory = load_inventory(inventory_path())
    device = inventory.get_device(name)
    with at_the_desk(device, connect, what="device check") as opened:
        found = check_device(device, opened)
        if found.ok:
            with progress_bar() as progress:
                golden = check_golden(device, opened, golden=inventory.golden, progress=progress)
            if golden is not None:
                found = replace(found, items=(*found.items, golden))
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


@_group.command()
def info(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show a device's facts: what it is, how full, how hot, how fast."""
    with connect(load_inventory(inventory_path()).get_device(name)) as transport:
        facts = read_facts(transport)
    if as_json:
        print_json(facts)
        return
    rows = [{"fact": key, "value": value} for key, value in told(facts).items()]
    print_rows(f"Device {name}", rows, as_json=False)


def _address(device: Device) -> str:
    if device.transport == "local":
        return "this machine"
    address = device.address
    user = f"{address.user}@" if address.user else ""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return address.serial or f"{user}{host}:{address.port}"


def _parse_address(text: str, key_file: str | None) -> Address:
    user, at, place = text.rpartition("@")
    found = _PLACE.fullmatch(place)
    if not (at and user and found) or not 0 < (port := int(found["port"] or 22)) < 1 << 16:
        raise UsageError(
            f"--ssh {text}: expected USER@HOST or USER@HOST:PORT, a numeric IPv6 host in [brackets]"
        )
    return Address(host=found["ipv6"] or found["host"], port=port, user=user, key_file=key_file)
