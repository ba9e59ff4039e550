"""A command on a device takes the farm's lease, or says who has it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.desk import at_the_desk
from farm.devices import known_devices, register_devices
from farm.fence import claim
from farm.inventory import host_device
from farm.leases import release, take
from farm.tables import DEVICES, WORKERS
from farm.transports import connect
from harness.device import NO_DEVICE, Device
from harness.errors import DevicesBusy, LeaseLost
from tests.harness.cli.command import Edgefarm, command


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    monkeypatch.delenv("EDGEFARM_DATABASE", raising=False)
    return Device("pi", "local", workdir=str(tmp_path / "work"))


@pytest.fixture
def farm(device: Device, tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'home' / 'farm.sqlite'}")
    register_devices(opened, [device], host="lab-1")
    yield opened
    opened.close()


def holder(farm: Database) -> str | None:
    with farm.begin() as connection:
        return known_devices(connection)[0].holder


def test_where_no_farm_is_used_a_device_is_opened_as_it_is(device: Device, tmp_path: Path) -> None:
    for one in (device, NO_DEVICE):
        with at_the_desk(one, connect, what="run") as opened:
            assert opened is connect or one is device
    with at_the_desk(device, connect, what="run") as opened, opened(device) as transport:
        assert transport.run(("echo", "x"), timeout_s=60).stdout == b"x\n"
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("health", ["healthy", "quarantined", "maintenance"])
def test_a_device_of_the_farm_is_held_for_the_command(
    farm: Database, device: Device, health: str
) -> None:
    with farm.begin() as connection:
        connection.execute(DEVICES.update().values(health=health))
    with at_the_desk(device, connect, what="run") as opened:
        assert str(holder(farm)).startswith("edgefarm run@")
        with opened(device) as transport:
            assert transport.run(("echo", "x"), timeout_s=60).stdout == b"x\n"
            with connect(device) as other:
                claim(other, 2_000_000_000, "worker lab-1/x")
            with pytest.raises(LeaseLost):
                transport.run(("echo", "x"), timeout_s=60)
    assert holder(farm) is None


def test_one_that_a_worker_has_is_refused_by_name(farm: Database, device: Device) -> None:
    with farm.begin() as connection:
        lease = take(connection, "pi", "worker lab-1/0123")
    assert lease is not None
    refusal = "device pi is in use by worker lab-1/0123; wait until it is free"
    with pytest.raises(DevicesBusy, match=refusal), at_the_desk(device, connect, what="verify"):
        pass
    assert holder(farm) == "worker lab-1/0123"
    with farm.begin() as connection:
        release(connection, lease)
    with at_the_desk(device, connect, what="verify"):
        pass


def test_this_host_goes_by_its_lab_host_s_name(farm: Database, device: Device) -> None:
    here = os.uname().nodename
    with farm.begin() as connection:
        row = {"machine": here, "pid": 1, "started": 0.0, "draining": False, "heartbeat": 4e9}
        connection.execute(WORKERS.insert().values(host="pi", instance="x", **row))
        assert take(connection, "pi", "worker pi/x") is not None
    assert device.name == "pi"
    busy = at_the_desk(host_device(), connect, what="run")
    with pytest.raises(DevicesBusy, match="device host is in use by worker pi/x"), busy:
        pass


def test_a_farm_elsewhere_that_runs_something_there_is_respected(device: Device) -> None:
    with connect(device) as transport:
        claim(transport, 7, "worker far/0123")
    stat = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    running = Path(device.workdir, "lease", "running", "1")
    running.write_text(f"{os.getpid()} {stat[19]}\n")
    with (
        at_the_desk(device, connect, what="run") as opened,
        pytest.raises(DevicesBusy, match="in use by worker far/0123"),
        opened(device),
    ):
        pass
    running.unlink()
    began = time.monotonic()
    with at_the_desk(device, connect, what="run") as opened, opened(device):
        pass
    assert time.monotonic() - began < 5


@pytest.fixture
def edgefarm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Edgefarm:
    return command(capsys, monkeypatch)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "zoo:digits-cnn", "--target", "host-litert", "--recipe", "float", "--device", "pi"),
        ("device", "check", "pi"),
        ("verify", "MODEL", "--device", "pi"),
        ("device", "provision", "pi", "--runtime", "executorch"),
    ],
)
def test_every_command_that_runs_on_a_device_asks_first(
    farm: Database, device: Device, tmp_path: Path, edgefarm: Edgefarm, words: tuple[str, ...]
) -> None:
    from tests.oracle.models import conv

    model = tmp_path / "m.tflite"
    model.write_bytes(conv(shape=(1, 6, 6, 3), channels=5).data)
    entry = (
        '[devices.pi]\ntransport = "ssh"\nhost = "192.0.2.1"\nuser = "u"\n'
        f'host_key = "SHA256:{"A" * 43}"\ntargets = ["host-litert"]\n'
    )
    (tmp_path / "home" / "farm.toml").write_text(entry)
    assert device.name == "pi"
    with farm.begin() as connection:
        take(connection, "pi", "worker lab-1/0123")
    said = edgefarm(*(str(model) if word == "MODEL" else word for word in words))
    assert said.code == 3
    assert "in use by worker lab-1/0123" in said.err
