"""The inventory file: what it says, how it is edited, and what is said about mistakes in it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from farm.golden import Golden
from farm.inventory import add_device, inventory_path, load_inventory, put_device, remove_device
from harness.device import Address, Device
from harness.errors import HarnessError, UsageError

KEY = "SHA256:" + "A" * 43
BOARD = Device(
    name="kitchen-pi",
    transport="ssh",
    targets=("arm-neon-litert",),
    address=Address("pi.example", 2222, "edge", "~/.ssh/farm"),
    host_key=KEY,
    tags=("lab", "slow"),
    core="cortex-a53",
    workdir="/data/edge farm",
    python=None,
)
TEXT = f"""\
# Our devices

# by the window
[devices.one]   # the first
transport = "ssh"
host = "10.0.0.1"
host_key = "{KEY}"

# in the cellar
[devices.two]
transport = "adb"
serial = "ABC"
tags = ["phone"]
# the end
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "farm.toml"


def names(path: Path) -> list[str]:
    return [device.name for device in load_inventory(path).devices]


def test_is_in_the_home_folder(path: Path) -> None:
    assert inventory_path() == path


def test_without_a_file_there_is_this_host(path: Path) -> None:
    (host,) = load_inventory(path).devices
    assert (host.name, host.transport) == ("host", "local")
    assert "host-litert" in host.targets
    assert all(target.startswith("host-") for target in host.targets)
    assert host.workdir.startswith(str(path.parent))
    assert not path.exists()


def test_what_is_added_is_read_back_equal(path: Path) -> None:
    plain = Device("plain", "local")
    phone = Device("phone", "adb", address=Address(serial="ABC"), virtual=True)
    for device in (BOARD, plain, phone):
        add_device(path, device)
    assert load_inventory(path).devices[1:] == (BOARD, plain, phone)
    assert "\nport" not in path.read_text().partition("plain")[2]
    assert path.stat().st_mode & 0o777 == 0o600


def test_editing_keeps_what_a_person_wrote(path: Path) -> None:
    path.write_text(TEXT)
    path.chmod(0o644)
    add_device(path, BOARD)
    assert path.read_text().startswith(TEXT)
    remove_device(path, "kitchen-pi")
    assert path.read_text().rstrip() == TEXT.rstrip()
    remove_device(path, "one")
    kept = "# Our devices\n\n# by the window\n# in the cellar\n" + TEXT.partition("cellar\n")[2]
    assert path.read_text().rstrip() == kept.rstrip()
    remove_device(path, "two")
    assert "# the end" in path.read_text()
    assert names(path) == ["host"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "text",
    [
        '[devices]\none = {transport = "local"}\n',
        '[devices]\n[devices."one"]\ntransport = "local"\n',
    ],
)
def test_other_ways_to_write_a_table(path: Path, text: str) -> None:
    path.write_text(text)
    add_device(path, BOARD)
    assert names(path) == ["host", "one", "kitchen-pi"]
    remove_device(path, "one")
    assert load_inventory(path).devices[1:] == (BOARD,)


def test_a_way_that_only_a_person_can_edit(path: Path) -> None:
    text = 'devices = {one = {transport = "local"}}\n'
    path.write_text(text)
    assert names(path) == ["host", "one"]
    with pytest.raises(UsageError, match=r"\[devices.NAME\]"):
        add_device(path, BOARD)
    assert path.read_text() == text


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    path.symlink_to(tmp_path / "dotfiles/farm.toml")
    add_device(path, BOARD)
    assert path.is_symlink()
    assert names(path) == ["host", "kitchen-pi"]


def test_writers_wait_for_each_other(path: Path) -> None:
    devices = [Device(f"d{number}", "local") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda device: add_device(path, device), devices))
    assert set(load_inventory(path).devices[1:]) == set(devices)
    assert {file.name for file in path.parent.iterdir()} == {".farm.toml.lock", "farm.toml"}


def test_unknown_names_say_what_there_is(path: Path) -> None:
    path.write_text(TEXT)
    inventory = load_inventory(path)
    assert inventory.get_device("two").address.serial == "ABC"
    for act in (lambda: inventory.get_device("tow"), lambda: remove_device(path, "tow")):
        with pytest.raises(UsageError, match=r"host, one, two; .*edgefarm device add"):
            act()


def test_a_changed_entry_keeps_its_lab_host_and_its_comments(path: Path) -> None:
    path.write_text(f'{TEXT}\n[hosts.here]\ndevices = ["two", "one"]\n')
    inventory = load_inventory(path)
    moved = replace(inventory.get_device("one"), address=Address("10.0.0.9"), core="cortex-a76")
    put_device(path, moved)
    put_device(path, BOARD)
    read = load_inventory(path)
    assert read.get_device("one") == moved
    assert read.get_device("kitchen-pi") == BOARD
    assert read.hosts == inventory.hosts
    for comment in ("# Our devices", "# by the window", "# the first", "# in the cellar"):
        assert comment in path.read_text()


def test_a_key_that_an_entry_has_no_more_goes(path: Path) -> None:
    add_device(path, BOARD)
    put_device(path, replace(BOARD, tags=(), core=None))
    assert load_inventory(path).get_device(BOARD.name) == replace(BOARD, tags=(), core=None)
    assert "tags" not in path.read_text()


def test_names_are_taken_once(path: Path) -> None:
    add_device(path, BOARD)
    with pytest.raises(UsageError, match="edgefarm device remove kitchen-pi"):
        add_device(path, BOARD)
    for name in ("host", "", "a b", "../x", "-x", "x" * 65, "a.b"):
        with pytest.raises(UsageError, match="allowed: letters"):
            add_device(path, replace(BOARD, name=name))
    with pytest.raises(UsageError, match="built in"):
        remove_device(path, "host")
    assert names(path) == ["host", "kitchen-pi"]


@pytest.mark.parametrize(
    ("device", "match"),
    [
        (replace(BOARD, address=Address()), "needs a host"),
        (Device("d", "adb"), "needs a serial"),
        (replace(BOARD, host_key="SHA256:short"), "host_key: .*got 'SHA256:short'"),
        (replace(BOARD, workdir="relative"), "workdir: "),
        (replace(BOARD, address=Address("h", 0)), "port: .*greater than or equal to 1"),
    ],
)
def test_an_entry_that_cannot_work_is_not_written(path: Path, device: Device, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        add_device(path, device)
    assert not path.exists()


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("transport = 3", r"farm\.toml:2: devices\.d\.transport: .*'ssh', 'adb' or 'local'"),
        ('transport = "ssh"', r"farm\.toml:1: devices\.d: transport ssh needs a host"),
        ('# \ntransport = "local"\nport = "22"', r":4: devices\.d\.port: .*got '22'"),
        ('transport = "local"\ncolour = 1', r":3: devices\.d\.colour: "),
        ('transport = "local"\ntags = ["a", 3]', r":3: devices\.d\.tags\.1: .*got 3"),
        ("", r":1: devices\.d\.transport: Field required"),
        ("transport = ", r"not TOML: .*line 2"),
        ("transport = 1\n[other]\nx = 1", r":3: other: Extra inputs"),
        ('transport = "local"\n[devices.host]', r":3: devices\.host"),
        ('transport = "local"\n[devices."a b"]\ntransport = "local"', r":3: 'a b' cannot be"),
    ],
)
def test_mistakes_are_named_by_line_and_key(path: Path, line: str, match: str) -> None:
    path.write_text(f"[devices.d]\n{line}\n")
    with pytest.raises(UsageError, match=match):
        load_inventory(path)
    before = path.read_text()
    with pytest.raises(UsageError, match=match):
        add_device(path, BOARD)
    assert path.read_text() == before


def test_a_file_that_cannot_be_read_or_written(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_inventory(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_inventory(tmp_path)
    with pytest.raises(HarnessError, match="cannot be written"):
        add_device(path / "below/farm.toml", BOARD)


HOSTS = """\
[hosts.one]
devices = ["a"]   # by the window

[hosts.two]
devices = ["b", "c"]

[devices.a]
transport = "local"
[devices.b]
transport = "local"
[devices.c]
transport = "local"
[devices.spare]
transport = "local"
"""


def test_a_file_may_be_that_of_several_lab_hosts(path: Path) -> None:
    path.write_text(HOSTS)
    inventory = load_inventory(path)
    assert [device.name for device in inventory.served_by("two")] == ["host", "b", "c"]
    with pytest.raises(UsageError, match=r"'three': not in .*; there are: one, two"):
        inventory.served_by("three")
    remove_device(path, "b")
    assert [device.name for device in load_inventory(path).served_by("two")] == ["host", "c"]
    assert "# by the window" in path.read_text()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('["b", "c"]', '["b", "x"]', r"farm.toml:5: hosts.two.devices: no device 'x'; .*a, b, c"),
        ('["b", "c"]', '["b", "a"]', r"farm.toml:5: hosts.two.devices: 'a' is one's already"),
        ('["b", "c"]', '["b", "b"]', r"farm.toml:5: hosts.two.devices: 'b' is two's already"),
        ('["b", "c"]', '"b"', r"farm.toml:5: hosts.two.devices: "),
        ("[hosts.two]\ndevices", "[hosts.two]\nunits", r"farm.toml:5: hosts.two.units: Extra"),
        ("[hosts.two]", '[hosts."t w"]', r"'t w' cannot be a lab host's name"),
    ],
)
def test_a_mistake_about_lab_hosts_names_its_line(
    path: Path, before: str, after: str, said: str
) -> None:
    path.write_text(HOSTS.replace(before, after))
    with pytest.raises(UsageError, match=said):
        load_inventory(path)


def test_a_lab_has_a_golden_model_of_its_own(path: Path, tmp_path: Path) -> None:
    assert load_inventory(path).golden == Golden()
    (tmp_path / "net.tflite").touch()
    path.write_text('[golden]\nmodel = "net.tflite"\ndata = "x.npz"\n')
    with pytest.raises(UsageError, match=r"farm.toml:3: golden.data: no such file: .*x.npz"):
        load_inventory(path)
    (tmp_path / "x.npz").touch()
    assert load_inventory(path).golden == Golden(tmp_path / "net.tflite", tmp_path / "x.npz")
