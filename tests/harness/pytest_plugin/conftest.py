"""A suite of a customer: a folder of its own, a home with an inventory, and the plugin loaded."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.devices import known_devices
from farm.inventory import add_device, inventory_path
from harness.device import Device

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ("-p", "harness.pytest_plugin", "-p", "xdist")
"""By hand: other plugins of the environment take seconds to load, and ours may not be installed."""

AddDevice = Callable[..., Device]


@pytest.fixture(autouse=True)
def farm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    monkeypatch.delenv("EDGEFARM_DATABASE", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return home


@pytest.fixture
def add(tmp_path: Path, farm_home: Path) -> AddDevice:
    """Add a device that is this host by another name."""
    assert farm_home.parent == tmp_path

    def add_one(name: str, *tags: str, python: str | None = None) -> Device:
        device = Device(
            name, "local", ("host-litert",), tags=("test", *tags),
            workdir=str(tmp_path / f"work-{name}"), python=python or sys.executable,
        )  # fmt: skip
        add_device(inventory_path(), device)
        return device

    return add_one


@pytest.fixture
def holders(farm_home: Path) -> Callable[[], dict[str, str | None]]:
    """Who holds which device, as the database has it."""

    def read() -> dict[str, str | None]:
        database: Database = open_database(f"sqlite:///{farm_home / 'farm.sqlite'}")
        with database.begin() as connection:
            found = {one.device.name: one.holder for one in known_devices(connection)}
        database.close()
        return found

    return read
