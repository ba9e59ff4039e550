"""labgrid's places as devices, with its real coordinator and exporter on loopback."""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from farm import labgrid
from farm.database import Database, open_database
from farm.devices import known_devices, register_devices
from farm.faults import Fault
from farm.health import Policy
from farm.inventory import inventory_schema, load_inventory
from farm.leases import leased
from farm.probing import run_probe, take_for_probe
from farm.selection import Selector
from farm.transports import connect
from farm.worker import give_back_places
from harness.device import Address, Connect, Device
from harness.errors import DevicesBusy, DeviceUnready, HarnessError, TransportError, UsageError

PIN = "SHA256:" + "A" * 43
EXPORTED = """\
kitchen:
  NetworkService: {{address: 127.0.0.1, port: {port}, username: edge}}
cellar:
  NetworkService: {{address: 'fe80::1%eth0', username: edge}}
"""
TAGS = {"target": "arm-neon-litert,arm-neon-executorch", "core": "cortex-a76", "lab": "2"}


needs_labgrid = pytest.mark.skipif(
    find_spec("labgrid") is None, reason="not installed: pip install 'edgefarm[labgrid]'"
)


class Lab:
    """A coordinator, and what a lab's people do with it."""

    def __init__(self, address: str, ssh_port: int) -> None:
        import grpc
        from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
        from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub

        self.address = address
        self.ssh_port = ssh_port
        self.messages = messages
        self.channel = grpc.insecure_channel(address)
        self.stub = CoordinatorStub(self.channel)

    def add_place(self, name: str, group: str, tags: dict[str, str], exporter: str = "lab") -> None:
        pattern = f"{exporter}/{group}/*"
        self.stub.AddPlace(self.messages.AddPlaceRequest(name=name))
        add = self.messages.AddPlaceMatchRequest(placename=name, pattern=pattern)
        self.stub.AddPlaceMatch(add)
        self.stub.SetPlaceTags(self.messages.SetPlaceTagsRequest(placename=name, tags=tags))

    def holder(self, name: str) -> str:
        places = self.stub.GetPlaces(self.messages.GetPlacesRequest()).places
        return str({place.name: place.acquired for place in places}[name])

    def as_somebody(self, name: str) -> AbstractContextManager[None]:
        """A colleague works at a place by hand."""

        @contextlib.contextmanager
        def work() -> Iterator[None]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(labgrid, "_our_name", lambda: "desk/anna")
                with labgrid._session(self.address, HarnessError) as session:
                    assert session.acquire(name) == ""
            yield
            self.stub.ReleasePlace(self.messages.ReleasePlaceRequest(placename=name))

        return work()


@contextlib.contextmanager
def process(cwd: Path, module: str, *words: str, until: str) -> Iterator[re.Match[str]]:
    """One of labgrid's programs, from the line on that says it is there."""
    call = [sys.executable, "-u", "-c", f"from {module} import main; main()", *words]
    with (
        (cwd / f"{module}.log").open("wb+") as log,
        subprocess.Popen(call, cwd=cwd, stdout=subprocess.PIPE, stderr=log, text=True) as child,
    ):
        assert child.stdout is not None
        try:
            found = next(filter(None, (re.search(until, line) for line in child.stdout)), None)
            assert found is not None, (cwd / f"{module}.log").read_text()
            yield found
        finally:
            child.kill()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("labgrid")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    (folder / "exporter.yaml").write_text(EXPORTED.format(port=port))
    coordinator = process(
        folder, "labgrid.remote.coordinator", "-l", "127.0.0.1:0", until=r"listening on (\S+)"
    )
    with coordinator as listening:
        words = ("-c", listening[1], "-n", "lab", "exporter.yaml")
        exporter = process(folder, "labgrid.remote.exporter", *words, until="add resource cellar")
        with exporter:
            made = Lab(listening[1], port)
            made.add_place("pi", "kitchen", TAGS)
            made.add_place("far", "cellar", {"target": "arm-neon-litert"})
            with made.channel:
                yield made


@pytest.fixture
def farm_toml(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    path = tmp_path / "farm.toml"
    path.write_text(
        f'[labgrid]\ncoordinator = "{lab.address}"\nkey_file = "~/.ssh/lab"\n'
        f'[labgrid.host_keys]\npi = "{PIN}"\nfar = "{PIN}"\ngone = "{PIN}"\n'
    )
    return path


@pytest.fixture
def place(farm_toml: Path) -> Device:
    return load_inventory(farm_toml).get_device("pi")


@pytest.fixture
def farm(place: Device, tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    register_devices(database, [place], host="here")
    yield database
    database.close()


@needs_labgrid
def test_a_place_is_a_device_as_its_tags_and_its_service_say(lab: Lab, farm_toml: Path) -> None:
    devices = {device.name: device for device in load_inventory(farm_toml).devices[1:]}
    assert devices["pi"] == Device(
        "pi",
        "ssh",
        ("arm-neon-litert", "arm-neon-executorch"),
        Address("127.0.0.1", lab.ssh_port, "edge", "~/.ssh/lab"),
        host_key=PIN,
        tags=("lab=2",),
        core="cortex-a76",
        place=f"{lab.address}/pi",
    )
    nowhere = Address(key_file="~/.ssh/lab")
    assert (devices["far"].address, devices["gone"].address) == (nowhere, nowhere)
    assert devices["gone"].targets == ()


@needs_labgrid
def test_a_place_is_acquired_while_a_device_is_open(lab: Lab, place: Device) -> None:
    with labgrid.held(place) as reached:
        assert reached == place
        assert re.fullmatch(r".+/edgefarm-[0-9a-f]{6}", lab.holder("pi"))
        with labgrid.held(place):  # the job's own process, under the worker's lease
            pass
        assert lab.holder("pi")
    assert not lab.holder("pi")
    with pytest.raises(TransportError, match="nothing listens"), connect(place):
        pass
    assert not lab.holder("pi")


@needs_labgrid
@pytest.mark.slow
def test_a_board_that_is_a_place_is_used_under_both_leases(
    lab: Lab, busybox_board: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    at = busybox_board.address
    service = f"{{address: {at.host}, port: {at.port}, username: {at.user}}}"
    (tmp_path / "exporter.yaml").write_text(f"attic:\n  NetworkService: {service}\n")
    (tmp_path / "farm.toml").write_text(
        f'[labgrid]\ncoordinator = "{lab.address}"\nkey_file = "{at.key_file}"\n'
        f'[labgrid.host_keys]\nboard = "{busybox_board.host_key}"\n'
    )
    lab.add_place("board", "attic", TAGS, exporter="bench")
    words = ("-c", lab.address, "-n", "bench", "exporter.yaml")
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    with process(tmp_path, "labgrid.remote.exporter", *words, until="add resource attic"):
        register_devices(database, load_inventory(tmp_path / "farm.toml").devices[1:])
        with leased(database, Selector(name="board"), connect, holder="me") as mine:
            with mine.connect(mine.device) as transport:
                said = transport.run(("uname", "-m"), timeout_s=60).stdout
            assert "edgefarm" in lab.holder("board")
    assert said == b"aarch64\n"
    assert not lab.holder("board")
    database.close()


@needs_labgrid
def test_its_address_is_the_one_of_now(lab: Lab, place: Device) -> None:
    moved = replace(place, address=Address("192.0.2.1", 22, "edge", "~/.ssh/lab"))
    with labgrid.held(moved) as reached:
        assert reached.address.port == lab.ssh_port


@needs_labgrid
@pytest.mark.parametrize("name", ["far", "gone"])
def test_a_place_without_an_address_is_out_of_reach(lab: Lab, farm_toml: Path, name: str) -> None:
    device = load_inventory(farm_toml).get_device(name)
    with pytest.raises(TransportError, match=f"labgrid place {name}: no such place, or "):
        connect(device).__enter__()
    assert not lab.holder("far")


@needs_labgrid
def test_a_place_that_somebody_has_is_not_ready(lab: Lab, place: Device, farm: Database) -> None:
    holding = leased(farm, Selector(name="pi"), connect, holder="me")
    with lab.as_somebody("pi"):
        with pytest.raises(DeviceUnready, match="place pi: acquired by desk/anna"), connect(place):
            pass
        with pytest.raises(DevicesBusy, match="acquired by desk/anna"), holding:
            pass
        assert lab.holder("pi") == "desk/anna"
    assert holder_of(farm) is None


@needs_labgrid
def test_it_is_taken_and_given_back_with_the_farms_lease(
    lab: Lab, farm: Database, place: Device
) -> None:
    with leased(farm, Selector(name="pi"), connect, holder="me"):
        assert "edgefarm" in lab.holder("pi")
        with pytest.raises(TransportError), connect(place):
            pass
        assert "edgefarm" in lab.holder("pi")
    assert not lab.holder("pi")
    assert holder_of(farm) is None


@needs_labgrid
def test_what_a_killed_holder_left_goes_with_the_next_lease(
    lab: Lab, place: Device, farm: Database
) -> None:
    killed = [labgrid.held(place), labgrid.held(place)]
    killed[0].__enter__()
    with leased(farm, Selector(name="pi"), connect, holder="me"):
        pass
    assert not lab.holder("pi")
    killed[1].__enter__()
    assert lab.holder("pi")
    give_back_places(farm, "here")
    assert not lab.holder("pi")
    with lab.as_somebody("pi"):
        give_back_places(farm, "here")
        assert lab.holder("pi") == "desk/anna"


@needs_labgrid
def test_a_probe_holds_the_place_and_meets_who_has_it(
    lab: Lab, place: Device, farm: Database
) -> None:
    seen = []

    def probe(_device: Device, _connect: Connect) -> Fault | None:
        seen.append(lab.holder("pi"))
        return None

    def run() -> str:
        with farm.begin() as connection:
            lease = take_for_probe(connection, "pi", "me", ttl_s=15)
        assert lease is not None
        return run_probe(
            farm, place, lease, connect=connect, probe=probe, policy=Policy(probes=1)
        ).state

    assert run() == "healthy"
    with lab.as_somebody("pi"):
        assert run() == "offline"
    assert run() == "healthy"
    assert [name.partition("/")[2][:8] for name in seen] == ["edgefarm", "edgefarm"]
    assert not lab.holder("pi")


@needs_labgrid
def test_a_coordinator_that_does_not_answer_is_told(
    lab: Lab, place: Device, farm_toml: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    away = f"127.0.0.1:{port}"
    farm_toml.write_text(farm_toml.read_text().replace(lab.address, away))
    with pytest.raises(HarnessError, match=f"labgrid coordinator {away}: .*refused"):
        load_inventory(farm_toml)
    lost = replace(place, place=f"{away}/pi")
    with pytest.raises(TransportError, match=f"labgrid coordinator {away}: "), connect(lost):
        pass
    labgrid.give_back(lost)


def test_without_labgrid_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.host.extras.find_spec", lambda _: None)
    (tmp_path / "farm.toml").write_text(
        '[labgrid]\ncoordinator = "lab:20408"\n[labgrid.host_keys]\n'
    )
    with pytest.raises(UsageError, match=r"pip install 'edgefarm\[labgrid\]'"):
        load_inventory(tmp_path / "farm.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('coordinator = "lab"\n[labgrid.host_keys]', r"farm.toml:2: labgrid.coordinator: "),
        ('coordinator = "lab:1"', r"labgrid.host_keys: Field required"),
        (
            'coordinator = "lab:1"\n[labgrid.host_keys]\npi = "MD5:1"',
            r"farm.toml:4: labgrid.host_keys.pi: ",
        ),
        (
            f'coordinator = "lab:1"\n[labgrid.host_keys]\n"a b" = "{PIN}"',
            r"farm.toml:4: 'a b' cannot be a device's name",
        ),
        (
            f'coordinator = "lab:1"\n[labgrid.host_keys]\npi = "{PIN}"\n'
            '[devices.pi]\ntransport = "local"',
            r"farm.toml:4: labgrid.host_keys: there is a \[devices.pi\] already",
        ),
        (
            f'coordinator = "lab:1"\n[labgrid.host_keys]\npi = "{PIN}"\n'
            '[hosts.one]\ndevices = ["pie"]',
            r"farm.toml:6: hosts.one.devices: no device 'pie'; there are: pi",
        ),
    ],
)
def test_a_mistake_in_the_table_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "farm.toml").write_text(f"[labgrid]\n{text}\n")
    with pytest.raises(UsageError, match=said):
        load_inventory(tmp_path / "farm.toml")


def test_the_schema_has_the_table() -> None:
    definitions: Any = inventory_schema()["$defs"]
    assert set(definitions["LabgridTable"]["required"]) == {"coordinator", "host_keys"}


def holder_of(farm: Database) -> str | None:
    with farm.begin() as connection:
        return known_devices(connection)[0].holder
