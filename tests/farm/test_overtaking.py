"""A database that is older than its devices catches up, unless somebody alive has the device."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from farm.database import Database
from farm.devices import known_devices, register_devices
from farm.doctor import examine
from farm.fence import FencedTransport, claim
from farm.leases import holder_name, leased, take
from farm.overtaking import overtake
from farm.selection import parse_selector
from farm.tables import DEVICES, WORKERS
from farm.transports import connect
from harness.device import Device
from harness.errors import DevicesBusy, LeaseLost

NEWER = 2_000_000_000
DEAD = f"worker lab-1/{'0' * 12}"


@pytest.fixture
def device(database: Database, tmp_path: Path) -> Device:
    made = Device("a", "local", ("t",), workdir=str(tmp_path / "a"))
    register_devices(database, [made], host="lab-1")
    return made


def used(device: Device, holder: str, *, ago_s: float = 3600.0) -> None:
    """As somebody whom the database does not know has left the device."""
    with connect(device) as transport:
        claim(transport, NEWER, holder)
    for folder in ("tokens", "running"):
        path = Path(device.workdir, "lease", folder)
        at = path.stat().st_mtime - ago_s
        os.utime(path, (at, at))


def token_of(database: Database) -> int:
    with database.begin() as connection:
        return known_devices(connection)[0].token


def test_a_restored_database_catches_up(database: Database, device: Device) -> None:
    used(device, DEAD)
    for _ in range(2):
        with leased(database, parse_selector("name=a"), connect, holder=holder_name("t")) as held:
            for _ in range(2):
                with held.connect(device) as transport:
                    assert transport.run(("echo", "mine"), timeout_s=60).stdout == b"mine\n"
            assert held.lease.token > NEWER
            assert not held.lost.is_set()
        assert token_of(database) > NEWER
        with database.begin() as connection:
            assert known_devices(connection)[0].holder is None
    told = [one for one in examine(database, []) if one.name == "token of a"]
    assert len(told) == 1
    assert "the database is older than the device" in told[0].found
    assert "restored from a backup" in told[0].remedy


@pytest.mark.parametrize(
    ("holder", "ago_s", "alive"),
    [
        (f"pytest@{socket.gethostname()}/{os.getppid()}-abcdef", 3600.0, True),
        (f"pytest@{socket.gethostname()}/4194304-abcdef", 0.0, False),
        ("pytest@elsewhere/7-abcdef", 3600.0, False),
        ("pytest@elsewhere/7-abcdef", 0.0, True),
        ("worker lab-2/0123456789ab", 3600.0, True),
        ("worker lab-2/ba9876543210", 0.0, False),
    ],
)
def test_whoever_is_alive_keeps_the_device(
    database: Database, device: Device, holder: str, ago_s: float, alive: bool
) -> None:
    with database.begin() as connection:
        row = {"machine": "m", "pid": 1, "started": 0.0, "draining": False, "heartbeat": 4e9}
        connection.execute(WORKERS.insert().values(host="lab-2", instance="0123456789ab", **row))
        lease = take(connection, "a", "me")
    assert lease is not None
    used(device, holder, ago_s=ago_s)
    with connect(device) as transport:
        raised = overtake(database, transport, lease)
        assert (raised is None) is alive
        if raised is not None:
            claim(transport, raised.token, "me")
            assert FencedTransport(transport, raised.token).run(("true",), timeout_s=60)
    told = [one for one in examine(database, []) if one.name == "token of a"]
    assert ("may be alive" in told[0].found) is alive


def test_a_process_that_runs_there_is_alive(database: Database, device: Device) -> None:
    used(device, "pytest@elsewhere/7-abcdef")
    running = Path(device.workdir, "lease", "running", "1")
    stat = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    running.write_text(f"{os.getpid()} {stat[19]}\n")
    os.utime(running.parent, (0, 0))
    with (
        pytest.raises(LeaseLost, match=str(NEWER)),
        leased(database, parse_selector("name=a"), connect, holder="me") as held,
        held.connect(device),
    ):
        pass


def test_a_lease_that_is_over_raises_nothing(database: Database, device: Device) -> None:
    with database.begin() as connection:
        lease = take(connection, "a", "me")
        connection.execute(DEVICES.update().values(holder="another"))
    assert lease is not None
    used(device, DEAD)
    with connect(device) as transport:
        assert overtake(database, transport, lease) is None
        assert overtake(database, transport, replace(lease, token=NEWER)) is None
    assert token_of(database) == lease.token


def test_a_device_that_counts_beyond_all_bounds_raises_nothing(
    database: Database, device: Device
) -> None:
    with database.begin() as connection:
        lease = take(connection, "a", "me")
    assert lease is not None
    used(device, DEAD)
    Path(device.workdir, "lease", "tokens", str(10**17)).write_text(DEAD)
    with connect(device) as transport:
        assert overtake(database, transport, lease) is None


def test_one_in_use_is_refused_by_name(database: Database, device: Device) -> None:
    with database.begin() as connection:
        take(connection, device.name, "somebody")
    with (
        pytest.raises(DevicesBusy, match="somebody"),
        leased(database, parse_selector("name=a"), connect, holder="me", health=("offline",)),
    ):
        pass
