"""A virtual phone's life, whom it lets in, and its faults, seen through the real adb."""

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.phones import WORKDIR
from farm.transports import adb, connect
from farm.virtual.boards import create_board, find_board, list_boards, set_fault, stop_board
from farm.virtual.phone.faults import Fault
from farm.virtual.phone.keys import parse_key
from harness.errors import DeviceError, DeviceTimeout, TransportError, UsageError
from tests.farm.phones import NewPhone, VirtualPhone, wait_until
from tests.farm.transports.conftest import shell
from tests.farm.transports.test_run import marker

OtherHost = Callable[..., str]


def traces(phone: VirtualPhone) -> list[str]:
    """Processes of this machine whose command line has the phone's folder in it."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(phone.folder).encode() in line.read_bytes():
                found.append(line.parent.name)
        except OSError:
            continue
    return found


def test_a_phones_life(new_phone: NewPhone) -> None:
    phone = new_phone()
    board = find_board(phone.name, home=phone.home)
    assert (board.kind, board.running, board.runtime) == ("phone", True, "none")
    assert board in list_boards(phone.home)
    assert (phone.device.virtual, phone.device.python) == (True, None)
    assert traces(phone)
    with connect(phone.device) as transport:
        assert transport.device.workdir == WORKDIR
        assert shell(transport, "getprop ro.boot.qemu; uname -m") == b"1\naarch64\n"
        assert b"python" not in shell(transport, "ls /usr/bin /system/bin")
        stop_board(phone.name, home=phone.home)
        assert not traces(phone)
        listed = ["adb", "-P", str(adb.server_port()), "devices"]  # to look for it again, if any
        assert phone.serial not in subprocess.check_output(listed, text=True)
        with pytest.raises(TransportError):
            transport.run(["true"], timeout_s=2)
    with pytest.raises(DeviceError, match="is it running"):
        phone.have("drop")


def test_only_phones_take_faults_and_no_runtime(board_home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="carries none"):
        create_board("p", kind="phone", runtime="ai-edge-litert", home=tmp_path)
    with pytest.raises(UsageError, match="no virtual board"):
        set_fault("nobody", Fault(kind="drop"), home=board_home)


@pytest.fixture
def other_host(tmp_path: Path) -> OtherHost:
    """adb of another person: another server, another key. Call with arguments for its words."""
    server = str(adb.server_port() + 1)

    def call(*arguments: str) -> str:
        environment = os.environ | {"HOME": str(tmp_path)}
        argv = ["adb", "-P", server, *arguments]
        done = subprocess.run(
            argv, env=environment, stdout=subprocess.PIPE, text=True, timeout=30, check=False
        )
        return done.stdout

    return call


def test_a_second_host_is_not_let_in(new_phone: NewPhone, other_host: OtherHost) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        shell(transport, "true")
        other_host("start-server")
        try:
            assert "failed to authenticate" in other_host("connect", phone.serial)
            assert f"{phone.serial}\tunauthorized" in other_host("devices")
            shell(transport, "true")
            phone.have("unauthorized")  # forgets the first
            phone.have("none")  # and accepts what it is shown
            wait_until(lambda: f"{phone.serial}\t" in other_host("devices"))
        finally:
            other_host("kill-server")


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 700])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"key of adb|modulus"):
        parse_key(text)


def test_a_hanging_phone_goes_on_where_it_stood(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        phone.have("hang")
        with pytest.raises(DeviceTimeout):
            transport.run(["true"], timeout_s=0.5)
        phone.have("none")
        assert shell(transport, "echo well") == b"well\n"


def test_a_slow_phone(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        phone.have("slow", bytes_per_s=100_000)
        start = time.monotonic()
        shell(transport, "head -c 150000 /dev/zero")
        assert time.monotonic() - start >= 1.5


def test_a_reboot_kills_all_and_keeps_files(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        mark = marker()
        shell(transport, f"mkdir -p {WORKDIR}; echo kept > {WORKDIR}/file")
        shell(transport, f"setsid sleep {mark} >/dev/null 2>&1 & sleep 1")
        assert mark.encode() in shell(transport, "ps -A -o ARGS")
        before = phone.daemon()
        phone.have("reboot", seconds=0.5)
        wait_until(lambda: phone.daemon() not in (before, None))
        with connect(phone.device) as again:
            assert shell(again, f"cat {WORKDIR}/file") == b"kept\n"
            assert mark.encode() not in shell(again, "ps -A -o ARGS")


def test_a_reboot_waits_for_no_command(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        shell(transport, f"mkdir -p {WORKDIR}")
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(
                shell, transport, f"trap '' HUP; touch {WORKDIR}/on; sleep 300"
            )
            wait_until(lambda: b"on" in shell(transport, f"ls {WORKDIR}"))
            before = phone.daemon()
            phone.have("reboot", seconds=0.5)
            with pytest.raises(TransportError):
                running.result()
        wait_until(lambda: phone.daemon() not in (before, None))


def test_wrong_data_is_one_byte_once(new_phone: NewPhone) -> None:
    phone = new_phone()
    with connect(phone.device) as transport:
        phone.have("wrong-data", after_bytes=50_000)
        got = shell(transport, "head -c 1000000 /dev/zero")
        assert sum(byte != 0 for byte in got) == 1
        assert shell(transport, "head -c 1000000 /dev/zero") == bytes(1_000_000)
