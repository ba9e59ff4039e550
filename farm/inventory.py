"""The inventory: which devices there are, kept in ``farm.toml`` under the home folder.

A person edits the file, and so do the commands; comments and order survive the commands. Each
device is one table::

    [devices.kitchen-pi]
    transport = "ssh"
    targets = ["arm-neon-litert"]
    host = "192.168.7.20"
    user = "edge"
    key_file = "~/.ssh/farm"
    host_key = "SHA256:…"

One file may be that of several lab hosts: ``[hosts.NAME]`` then says which devices are whose. The
lab's own golden model takes the place of ours with ``[golden]``. Places of a labgrid coordinator
are devices, too, with ``[labgrid]``; see `farm.labgrid`.
"""

import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import cast

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from farm import toml_file
from farm.golden import Golden
from farm.inventory_file import Entry, GoldenTable, InventoryFile, defaults
from farm.labgrid import LabgridTable, find_devices
from harness.device import NO_DEVICE, Device, TransportKind
from harness.errors import UsageError
from harness.host.home import home
from harness.host.wording import fault
from targets import TARGETS

FILE_NAME = "farm.toml"
HOST = "host"
"""Name of the built-in device: the machine that edgefarm runs on."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME_RULE = (
    "letters, digits, '_' and '-', at most 64, a letter or digit first; "
    f"not {HOST!r}, which is built in"
)


@dataclass(frozen=True)
class Inventory:
    """The devices of one file, after the built-in `HOST`.

    Attributes:
        hosts: by lab host, the names of its devices; empty where one lab host has them all. A
            device that none names is served by none.
        golden: what devices are probed with.
    """

    path: Path
    devices: tuple[Device, ...]
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    golden: Golden = field(default_factory=Golden)

    def served_by(self, host: str) -> tuple[Device, ...]:
        """The devices of a lab host: all, unless the file says whose they are.

        Raises:
            UsageError: the file names lab hosts, but not this one.
        """
        if not self.hosts:
            return self.devices
        if host not in self.hosts:
            raise UsageError(
                f"lab host {host!r}: not in {self.path}; there are: {', '.join(self.hosts)}; "
                f"add [hosts.{host}], or choose one with --host"
            )
        mine = {HOST, *self.hosts[host]}
        return tuple(device for device in self.devices if device.name in mine)

    def get_device(self, name: str) -> Device:
        """The device of that name.

        Raises:
            UsageError: there is none; the message lists those there are.
        """
        for device in self.devices:
            if device.name == name:
                return device
        names = ", ".join(device.name for device in self.devices)
        raise UsageError(
            f"device {name!r}: not in {self.path}; there are: {names}; "
            "add one with `edgefarm device add`"
        )


def inventory_path() -> Path:
    """Where this user's inventory is."""
    return home() / FILE_NAME


def inventory_schema() -> dict[str, object]:
    """JSON Schema of the file, for editors."""
    schema = InventoryFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_inventory(path: Path) -> Inventory:
    """Read an inventory; without a file there is the built-in device alone.

    Raises:
        UsageError: the file cannot be read or a line of it is wrong; the message names it.
        HarnessError: it names a labgrid coordinator, and that cannot be reached.
    """
    return _parse(toml_file.read_text(path), path, ask=find_devices)


def add_device(path: Path, device: Device) -> None:
    """Write a new device's table to the file, which is made if need be.

    Raises:
        UsageError: the name is taken or not allowed, or the entry lacks something.
        HarnessError: the file cannot be written.
    """
    _check_name(device.name)
    with _editing(path) as (document, inventory):
        if any(known.name == device.name for known in inventory.devices):
            raise UsageError(
                f"device {device.name!r}: in {path} already; remove it first with "
                f"`edgefarm device remove {device.name}` or choose another name"
            )
        _write_device(document, device, path)


def put_device(path: Path, device: Device) -> None:
    """Write a device's table, in place of the one of that name where there is one: comments and
    the lab host's list stay.

    Raises:
        UsageError: the name is not allowed, or the entry lacks something.
        HarnessError: the file cannot be written.
    """
    _check_name(device.name)
    with _editing(path) as (document, _):
        _write_device(document, device, path)


def remove_device(path: Path, name: str) -> None:
    """Remove a device's table from the file, and its name from its lab host's.

    Raises:
        UsageError: there is no such device, or it is the built-in one.
        HarnessError: the file cannot be written.
    """
    if name == HOST:
        raise UsageError(f"device {HOST!r} is built in and cannot be removed")
    with _editing(path) as (document, inventory):
        inventory.get_device(name)
        devices = _devices(document, path).value
        slot = [None if key is None else key.key for key, _ in devices.body].index(name)
        # tomlkit counts a comment above the next table to the table before it: it stays.
        last = cast(Table, devices[name]).value.body[::-1]
        tail = [item.as_string() for _, item in takewhile(lambda pair: pair[0] is None, last)]
        del devices[name]
        for host in document.get("hosts", {}).values():
            if name in host["devices"]:
                host["devices"].remove(name)
        devices.body[slot] = (None, tomlkit.ws("".join(tail[::-1]).lstrip("\n")))


def _devices(document: tomlkit.TOMLDocument, path: Path) -> Table:
    table = document["devices"]
    if not isinstance(table, Table):
        raise UsageError(
            f"{path}: only a person can change it as it is written; the commands can when each "
            "device is a table of its own, [devices.NAME]"
        )
    return table


def host_device() -> Device:
    """This machine, always there."""
    return Device(
        name=HOST,
        transport="local",
        targets=tuple(name for name in TARGETS if name.startswith("host-")),
        tags=(platform.machine(),),
        workdir=str(home() / "host"),
        python=sys.executable,
    )


def asked_device(name: str | None, target: str) -> Device:
    """The device of that name; without one this host, or none where it cannot run the target.

    Raises:
        UsageError: there is no such device, or the inventory is wrong.
    """
    if name is not None:
        return load_inventory(inventory_path()).get_device(name)
    host = host_device()
    return host if target in host.targets else NO_DEVICE


def _parse(
    text: str, path: Path, *, ask: Callable[[LabgridTable], tuple[Device, ...]] = lambda _: ()
) -> Inventory:
    """The inventory that a text is; without `ask`, without the devices that are labgrid's."""
    try:
        tables = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    try:
        file = InventoryFile.model_validate(tables)
    except ValidationError as error:
        raise UsageError(toml_file.explain(error, text, path)) from None
    _check_names(file, text, path)
    _check_hosts(file, text, path)
    devices = [entry.device(name) for name, entry in file.devices.items()]
    devices += ask(file.labgrid) if file.labgrid else ()
    hosts = {name: tuple(host.devices) for name, host in file.hosts.items()}
    return Inventory(path, (host_device(), *devices), hosts, _golden(file.golden, text, path))


def _check_names(file: InventoryFile, text: str, path: Path) -> None:
    """Every device has a name that it may have, and of its own."""
    keys: list[tuple[str, ...]] = [("devices", name) for name in file.devices]
    keys += [("labgrid", "host_keys", name) for name in file.places()]
    for key in keys:
        where, name = toml_file.find_line(text, key, path), key[-1]
        if name == HOST or not _NAME.fullmatch(name):
            raise UsageError(f"{where}: {name!r} cannot be a device's name; allowed: {_NAME_RULE}")
        if key[0] == "labgrid" and name in file.devices:
            raise UsageError(f"{where}: labgrid.host_keys: there is a [devices.{name}] already")


def _check_hosts(file: InventoryFile, text: str, path: Path) -> None:
    """Every device that a lab host names is there, and no other names it."""
    whose: dict[str, str] = {}
    there = [*file.devices, *file.places()]
    for host, entry in file.hosts.items():
        where = toml_file.find_line(text, ("hosts", host, "devices"), path)
        if not _NAME.fullmatch(host):
            raise UsageError(f"{where}: {host!r} cannot be a lab host's name; see devices' names")
        for name in entry.devices:
            if name not in there:
                raise UsageError(
                    f"{where}: hosts.{host}.devices: no device {name!r}; there are: "
                    f"{', '.join(there) or 'none'}"
                )
            other = whose.setdefault(name, host)
            if other != host or entry.devices.count(name) > 1:
                raise UsageError(f"{where}: hosts.{host}.devices: {name!r} is {other}'s already")


def _golden(entry: GoldenTable | None, text: str, path: Path) -> Golden:
    if entry is None:
        return Golden()
    placed = {}
    for key, value in (("model", entry.model), ("data", entry.data)):
        placed[key] = path.parent / Path(value).expanduser()
        if not placed[key].is_file():
            where = toml_file.find_line(text, ("golden", key), path)
            raise UsageError(f"{where}: golden.{key}: no such file: {placed[key]}")
    return Golden(**placed)


@contextmanager
def _editing(path: Path) -> Iterator[tuple[tomlkit.TOMLDocument, Inventory]]:
    """Hand out what the file says; it says what is made of the document afterwards."""
    with toml_file.edit(path, check=lambda text: _parse(text, path)) as document:
        yield document, _parse(tomlkit.dumps(document), path)


def _check_name(name: str) -> None:
    if name == HOST or not _NAME.fullmatch(name):
        raise UsageError(f"device name {name!r}: allowed: {_NAME_RULE}")


def _write_device(document: tomlkit.TOMLDocument, device: Device, path: Path) -> None:
    """Make a device's table say what the device is, and keep its comments."""
    if "devices" not in document:
        document["devices"] = tomlkit.table(is_super_table=True)
    devices, written = _devices(document, path), _written(device)
    if device.name not in devices:
        devices[device.name] = tomlkit.table()
    table = cast(Table, devices[device.name])
    for key in [key for key in table if key not in written]:
        del table[key]
    table.update(written)


def _written(device: Device) -> dict[str, object]:
    """The keys of a device's table: those that differ from what their absence means."""
    address = device.address
    transport = cast("TransportKind", device.transport)
    workdir, python = defaults(transport)
    try:
        entry = Entry(
            transport=transport,
            targets=list(device.targets),
            host=address.host,
            port=address.port,
            user=address.user,
            key_file=address.key_file,
            serial=address.serial,
            host_key=device.host_key,
            tags=list(device.tags),
            virtual=device.virtual,
            core=device.core,
            workdir=None if device.workdir == workdir else device.workdir,
            python=None if (device.python or "") == python else device.python or "",
            **asdict(device.policy) | {"reboot": list(device.policy.reboot)},
        )
    except ValidationError as error:
        reasons = "; ".join(fault(item) for item in error.errors())
        raise UsageError(f"device {device.name!r}: {reasons}") from None
    return entry.model_dump(exclude_defaults=True)
