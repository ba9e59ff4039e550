"""Leases: one holder at a time, given back whatever happens, taken over by expiry."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.devices import known_devices, named_for, register_devices
from farm.fence import claim
from farm.inventory import host_device
from farm.leases import holder_name, leased, release, renew, take
from farm.selection import parse_selector
from farm.tables import DEVICES
from farm.transports import connect
from harness.device import Device
from harness.errors import DevicesBusy, LeaseLost, NoDevice, UsageError

ANY = parse_selector("target=t")


def device(tmp_path: Path, name: str = "a") -> Device:
    return Device(name, "local", ("t",), workdir=str(tmp_path / name))


@pytest.fixture
def farm(database: Database, tmp_path: Path) -> Database:
    register_devices(database, [device(tmp_path)])
    return database


def test_only_one_of_many_gets_a_device(farm: Database) -> None:
    def attempt(number: int) -> bool:
        with farm.begin() as connection:
            return take(connection, "a", f"holder {number}") is not None

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(attempt, range(24))) == 1


def test_tokens_rise_and_an_old_one_releases_nothing(farm: Database) -> None:
    with farm.begin() as connection:
        first = take(connection, "a", "x", ttl_s=-1.0)
        second = take(connection, "a", "y")
        assert first is not None
        assert second is not None
        assert second.token > first.token
        assert not release(connection, first)
        assert renew(connection, "x", ["a"]) == {}
        assert renew(connection, "y", ["a"]) == {"a": second.token}
        assert release(connection, second)
        assert not release(connection, second)


def test_tokens_go_on_rising_when_the_database_is_made_anew(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two"):
        database = open_database(f"sqlite:///{tmp_path / name}")
        register_devices(database, [device(tmp_path)])
        with database.begin() as connection:
            lease = take(connection, "a", "x")
        assert lease is not None
        tokens.append(lease.token)
        database.close()
        time.sleep(1.1)
    assert tokens[0] < tokens[1] < 2**31


def test_a_held_device_is_used_and_given_back(farm: Database) -> None:
    with pytest.raises(ZeroDivisionError), leased(farm, ANY, connect, holder="me") as held:  # noqa: PT012  the body is what raises
        with held.connect(held.device) as transport:
            assert transport.run(("true",), timeout_s=10).exit_status == 0
        with (
            pytest.raises(DevicesBusy, match="in use by me"),
            leased(farm, ANY, connect, holder="other"),
        ):
            pass
        raise ZeroDivisionError
    with leased(farm, ANY, connect, holder="other"):
        pass


def test_no_device_matches(farm: Database) -> None:
    with (
        pytest.raises(NoDevice, match="there are: a"),
        leased(farm, parse_selector("tag=x"), connect, holder="me"),
    ):
        pass


@pytest.mark.parametrize("health", ["suspect", "quarantined", "offline", "maintenance"])
def test_a_device_that_is_not_healthy_is_not_given(farm: Database, health: str) -> None:
    with farm.begin() as connection:
        connection.execute(DEVICES.update().values(health=health, cause="because"))
    with (
        pytest.raises(DevicesBusy, match=f"{health}: because"),
        leased(farm, ANY, connect, holder="me"),
    ):
        pass


def test_heartbeats_keep_it_past_its_expiry(farm: Database) -> None:
    with leased(farm, ANY, connect, holder="me", ttl_s=0.6):
        time.sleep(1.5)
        with farm.begin() as connection:
            assert take(connection, "a", "other") is None


def test_a_lost_lease_is_noticed_and_the_device_refuses(farm: Database) -> None:
    with leased(farm, ANY, connect, holder="me", ttl_s=0.6) as held:
        with farm.begin() as connection:
            connection.execute(DEVICES.update().values(lease_expires=0.0))
            theirs = take(connection, "a", "other")
        assert theirs is not None
        assert held.lost.wait(10)
        with connect(held.device) as bare:
            claim(bare, theirs.token, "other")
        with pytest.raises(LeaseLost), held.connect(held.device):
            pass
    with farm.begin() as connection:
        assert known_devices(connection)[0].holder == "other"


KILLED = """
import sys, time
from farm.database import open_database
from farm.leases import leased
from farm.selection import parse_selector
from farm.transports import connect
database = open_database(sys.argv[1])
with leased(database, parse_selector("target=t"), connect, holder="killed", ttl_s=1.0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_holder_loses_it_by_expiry(farm: Database) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, farm.url], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with pytest.raises(DevicesBusy), leased(farm, ANY, connect, holder="me"):
        pass
    with leased(farm, ANY, connect, holder="me", wait_s=30):
        pass


def test_a_device_has_one_lab_host(farm: Database, tmp_path: Path) -> None:
    register_devices(farm, [device(tmp_path)], host="lab-1")
    register_devices(farm, [device(tmp_path)])
    with pytest.raises(UsageError, match="lab-1"):
        register_devices(farm, [device(tmp_path)], host="lab-2")
    with farm.begin() as connection:
        assert [one.host for one in known_devices(connection)] == ["lab-1"]


def test_many_processes_register_the_same_devices_at_once(
    database: Database, tmp_path: Path
) -> None:
    devices = [device(tmp_path, name) for name in "abcdef"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: register_devices(database, devices), range(8)))
    with database.begin() as connection:
        assert [one.device for one in known_devices(connection)] == devices


def test_the_built_in_device_takes_its_lab_hosts_name() -> None:
    assert named_for(host_device(), "lab-1").name == "lab-1"


def test_holders_differ() -> None:
    assert holder_name("pytest") != holder_name("pytest")
