"""One device of every transport, and a folder on it for the test."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device, Transport
from tests.farm.phones import VirtualPhone

# Each row is one more transport for the whole contract: a name, and the fixture of its device.
DEVICES = {
    "adb": "phone",
    "local": "this_host",
    "ssh": "cortex_a76",
    "ssh-busybox": "busybox_board",
}


@pytest.fixture(scope="session")
def this_host(tmp_path_factory: pytest.TempPathFactory) -> Device:
    workdir = tmp_path_factory.mktemp("host")
    return Device("this-host", "local", workdir=str(workdir), python=sys.executable)


@pytest.fixture(scope="session")
def phone(started_phone: VirtualPhone) -> Device:
    return started_phone.device


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    found = request.getfixturevalue(DEVICES[request.param])
    assert isinstance(found, Device)
    return found


@pytest.fixture(scope="session")
def transport(device: Device) -> Iterator[Transport]:
    """One connection for all tests; what they leave on the device goes at the end."""
    with connect(device) as opened:
        yield opened
        shell(opened, 'rm -rf "$1"', device.workdir)


@pytest.fixture
def folder(device: Device) -> str:
    """A folder of the test's own on the device, not made yet."""
    return f"{device.workdir}/{uuid.uuid4().hex[:12]}"


def shell(transport: Transport, script: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """What a script prints on the device; it must end well."""
    result = transport.run(("sh", "-ec", script, "sh", *arguments), timeout_s=60, stdin=stdin)
    assert result.exit_status == 0, result
    return result.stdout


def shell_in(transport: Transport, folder: str, script: str, stdin: bytes = b"") -> bytes:
    """What a script prints in a folder of the device, which it may be the first to use."""
    return shell(transport, f'mkdir -p "$1"; cd "$1"; {script}', folder, stdin=stdin)


def left_in(folder: Path) -> list[str]:
    """Names in a folder of this host."""
    return sorted(entry.name for entry in folder.iterdir())
