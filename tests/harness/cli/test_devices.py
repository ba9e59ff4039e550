"""`edgefarm device add`: what it takes for an address, and what it looks at before it adds."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from farm.inventory import inventory_path, load_inventory
from harness.cli import devices
from harness.errors import UsageError
from harness.facts import Facts
from tests.harness.cli.command import Edgefarm, Said
from tests.harness.cli.ssh_server import Board, ssh_server

TARGET = ("--target", "arm-neon-litert")


@pytest.mark.parametrize(
    "place", ["pi.example", "pi@", "@pi", "pi@pi:", "pi@pi:0", "pi@pi:65536", "pi@pi:x", "pi@::1"]
)
def test_an_address_that_is_none(edgefarm: Edgefarm, place: str) -> None:
    said = edgefarm("device", "add", "one", "--ssh", place, *TARGET)
    assert said.code == 2
    assert f"--ssh {place}: expected USER@HOST" in said.err


def test_a_numeric_ipv6_address_stands_in_brackets(edgefarm: Edgefarm) -> None:
    with socket.socket(socket.AF_INET6) as closed:
        try:
            closed.bind(("::1", 0))
        except OSError:
            pytest.skip("this host has no IPv6 loopback")
        port = closed.getsockname()[1]
        said = edgefarm("device", "add", "one", "--ssh", f"pi@[::1]:{port}", *TARGET)
    assert said.code == 3
    assert f"device ::1:{port}" in said.err


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with ssh_server(tmp_path) as served:
        yield served


def add(
    edgefarm: Edgefarm, board: Board, *more: object, user: str = "edge", key: Path | None = None
) -> Said:
    return edgefarm(
        "device", "add", "one", "--ssh", f"{user}@{board.place}", *TARGET,
        "--key-file", key or board.key_file, "--accept-host-key", board.host_key, *more,
    )  # fmt: skip


def added() -> list[str]:
    return [one.name for one in load_inventory(inventory_path()).devices if one.name != "host"]


def test_a_board_that_lets_us_in_is_added(edgefarm: Edgefarm, board: Board) -> None:
    said = add(edgefarm, board)
    assert said.code == 0, said.err
    assert added() == ["one"]


def test_a_wrong_user_or_key_is_not_added_unless_asked_to(
    edgefarm: Edgefarm, board: Board, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    paramiko.ECDSAKey.generate().write_private_key_file(str(other))
    for said in (add(edgefarm, board, user="nobody"), add(edgefarm, board, key=other)):
        assert said.code == 3
        assert "refused" in said.err
        assert "--no-check" in said.err
        assert added() == []
    assert add(edgefarm, board, "--no-check", user="nobody").code == 0
    assert added() == ["one"]


def test_a_key_file_that_is_none_is_told_before_the_board_is_asked(
    edgefarm: Edgefarm, board: Board, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no key")
    os.mkfifo(tmp_path / "pipe")
    for key in ("absent", "text", "pipe", "."):
        for more in ((), ("--no-check",)):
            said = add(edgefarm, board, *more, key=tmp_path / key)
            assert said.code == 2
            assert "key_file" in said.err
    assert added() == []


@pytest.mark.parametrize("core", ["nocore", "", "Cortex-A76", "cortex-a76 ", "0xd0b"])
@pytest.mark.parametrize("place", [("--ssh", "pi@192.0.2.7"), ("--adb", "SERIAL")])
def test_a_core_that_is_not_known(edgefarm: Edgefarm, core: str, place: tuple[str, str]) -> None:
    said = edgefarm("device", "add", "one", *place, *TARGET, "--core", core, "--no-check")
    assert said.code == 2
    assert f"core {core!r} is not known; allowed: cortex-a35, cortex-a510" in said.err


def test_nor_is_one_in_the_inventory(edgefarm: Edgefarm) -> None:
    inventory_path().write_text(
        '[devices.one]\ntransport = "ssh"\nhost = "x"\ncore = "nocore"\ntargets = []\n'
    )
    assert "core 'nocore' is not known" in edgefarm("device", "list").err
    with pytest.raises(UsageError, match=r"farm.toml:4: devices.one.core"):
        load_inventory(inventory_path())


def test_a_core_that_the_board_has_not(
    edgefarm: Edgefarm, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "read_facts", lambda _: Facts(cores=("cortex-a53",)))
    said = add(edgefarm, board, "--core", "cortex-a76")
    assert said.code == 2
    assert "the board's own cores are cortex-a53" in said.err
    assert added() == []
    assert add(edgefarm, board, "--core", "cortex-a53").code == 0


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/x", "~nobody-at-all/x"])
def test_a_home_folder_that_cannot_be_is_told_in_a_line(
    edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", place)
    for command in (("device", "list"), ("status",), ("top", "--once"), ("board", "list")):
        said = edgefarm(*command)
        assert said.code == 2
        assert said.err.startswith(f"UsageError: home folder {place}: cannot be used")


def test_a_defect_is_told_even_without_a_home_folder(
    edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path) -> None:
        monkeypatch.setenv("EDGEFARM_HOME", "/dev/null/x")
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(devices, "load_inventory", broken)
    said = edgefarm("device", "list")
    assert said.code == 3
    assert "ZeroDivisionError: oh" in said.err
    assert "not kept: home folder /dev/null/x" in said.err
