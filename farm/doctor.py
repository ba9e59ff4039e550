"""Doctor: looks at host, database, workers, devices and disk, and says what to mend."""

import shutil
from collections.abc import Iterator, Sequence

from farm.database import Database
from farm.device_check import CheckItem
from farm.inventory import inventory_path, load_inventory
from farm.leases import TTL_S, USABLE
from farm.observation import health_changes
from farm.overtaking import CAUSE
from farm.selection import parse_selector
from farm.snapshot import Snapshot, take_snapshot
from harness.device import Device
from harness.errors import HarnessError, UsageError
from harness.host.cache import cache_folder
from harness.host.home import home

LEAST_FREE_BYTES = 2 << 30
_SILENT_S = 3 * TTL_S
_DAY_S = 86400.0
_LOG_ROWS = 1000
_TOOLS = {"adb": "adb", "ssh": "ssh-keyscan"}
_REMEDIES = {
    "suspect": "it is being probed; wait, or see `edgefarm device history`",
    "offline": "is it on and connected? it returns on its own; try `edgefarm device check`",
    "quarantined": "mend it, then `edgefarm device resume`",
    "maintenance": "when it is done: `edgefarm device resume`",
}


def examine(database: Database, devices: Sequence[Device]) -> list[CheckItem]:
    """Everything that is looked at, in order; trouble is an item, not an error.

    Args:
        database: the farm's, open.
        devices: of this host's inventory.
    """
    try:
        seen = take_snapshot(database)
    except HarnessError as error:
        return [CheckItem("database", False, str(error), "see the database's own log")]
    return [
        CheckItem("database", True, "SQLite" if database.is_sqlite else "Postgres"),
        *_disk(),
        *_tools(devices),
        *_workers(seen),
        *_devices(seen),
        *_tokens(database, seen.at),
        *_line(seen),
    ]


def inventory_item() -> tuple[CheckItem, Sequence[Device]]:
    """Whether this host's inventory can be read, and the devices in it."""
    try:
        devices = load_inventory(inventory_path()).devices
    except UsageError as error:
        return CheckItem("inventory", False, str(error), "correct the line that is named"), ()
    found = f"{len(devices)} devices in {inventory_path()}"
    return CheckItem("inventory", True, found), devices


def _disk() -> Iterator[CheckItem]:
    for name, folder in (("home folder", home()), ("cache", cache_folder())):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        ok = free >= LEAST_FREE_BYTES
        remedy = "" if ok else f"free {LEAST_FREE_BYTES >> 30} GiB; `edgefarm clean` may help"
        yield CheckItem(name, ok, f"{folder}: {free >> 20} MiB free", remedy)


def _tools(devices: Sequence[Device]) -> Iterator[CheckItem]:
    for kind in sorted({device.transport for device in devices} & set(_TOOLS)):
        tool = _TOOLS[kind]
        found = shutil.which(tool)
        remedy = "" if found else f"install {tool}: there are devices with transport {kind}"
        yield CheckItem(f"tool {tool}", found is not None, found or "not found", remedy)


def _workers(seen: Snapshot) -> Iterator[CheckItem]:
    if not seen.workers:
        yield CheckItem("workers", False, "none", "start one on each lab host: `edgefarm worker`")
    for one in seen.workers:
        alive = one.silent_s <= _SILENT_S
        found = f"process {one.pid} on {one.machine}, heard {one.silent_s:.0f} s ago"
        remedy = "" if alive else f"it is dead: start `edgefarm worker --host {one.host}` again"
        yield CheckItem(f"worker {one.host}", alive, found, remedy)


def _devices(seen: Snapshot) -> Iterator[CheckItem]:
    served = {one.host for one in seen.workers}
    for known in seen.devices:
        name, ok = f"device {known.device.name}", known.health in USABLE
        found = f"{known.health}: {known.cause}" if known.cause else known.health
        remedy = "" if ok else _REMEDIES.get(known.health, "")
        if ok and known.host not in served:
            ok, remedy = False, f"no worker serves its lab host {known.host or '(none yet)'}"
        yield CheckItem(name, ok, found, remedy)


def _tokens(database: Database, at: float) -> Iterator[CheckItem]:
    """Devices that know of newer leases than the database, within the last day."""
    newest: dict[str, str] = {}
    for one in health_changes(database, limit=_LOG_ROWS):
        if one.cause.startswith(CAUSE) and at - one.at < _DAY_S:
            newest.setdefault(one.device, one.cause)
    for device, cause in newest.items():
        remedy = (
            "was the database restored from a backup? what it lacks is lost; if not, another farm "
            "uses the device: remove it from one of the two inventories"
        )
        yield CheckItem(f"token of {device}", False, cause.removeprefix(CAUSE), remedy)


def _line(seen: Snapshot) -> Iterator[CheckItem]:
    waiting = seen.oldest_ready_s
    found = "empty" if waiting is None else f"the first in line has waited {waiting:.0f} s"
    yield CheckItem("line", True, found)
    for text, count in seen.ready_selectors.items():
        selector = parse_selector(text)
        if not any(
            selector.matches(one.device, one.host) and one.health in USABLE for one in seen.devices
        ):
            remedy = "bring such a device back, or `edgefarm cancel` the jobs"
            yield CheckItem("line", False, f"{count} wait for {text}: no healthy device", remedy)
