"""Virtual boards and phones for every test that asks for one."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from farm.transports import adb
from farm.virtual.boards import create_board, destroy_board, device_of, list_boards, start_board
from farm.virtual.cpuinfo import Core
from farm.virtual.requirements import missing
from farm.virtual.rootfs import RuntimeKind
from harness.device import Device
from harness.errors import UsageError
from harness.host.home import home
from tests.farm.phones import NewPhone, VirtualPhone, virtual_phone

StartedBoard = Callable[[Core, RuntimeKind], Device]

_BOARD_FIXTURES = {"started_board", "cortex_a53", "cortex_a76", "board_home", "new_phone"}
# Read now, for a test may point EDGEFARM_HOME elsewhere before the first board is asked for.
_HOME = Path(os.environ.get("EDGEFARM_TEST_HOME") or home())


# The same examples every time: CI shall fail by a change, not by luck. New ones are looked for
# with --hypothesis-profile=default, and what they find becomes a test.
settings.register_profile(
    "repeatable", derandomize=True, phases=[Phase.explicit, Phase.generate, Phase.shrink]
)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Ctrl-C is tested: a shell starts what runs in its background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the longest time limits come first: a file is one worker's, and none shall be
    left alone with a long one at the end."""
    limits: dict[Path, float] = {}
    for item in items:
        if _BOARD_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("board")
        limit = item.get_closest_marker("timeout")
        limits[item.path] = max(limits.get(item.path, 0), limit.args[0] if limit else 0)
    items.sort(key=lambda item: -limits[item.path])


@pytest.fixture(scope="session")
def board_home() -> Path:
    """Where test boards live: $EDGEFARM_TEST_HOME, else the user's home, to build its root file
    systems once a machine."""
    if lacking := missing():
        pytest.skip("; ".join(lacking))
    _HOME.mkdir(parents=True, exist_ok=True)
    return _HOME


@pytest.fixture(scope="session")
def started_board(board_home: Path) -> Iterator[StartedBoard]:
    """Call with (core, runtime) for a running board's Device; destroyed when the session ends."""
    _destroy_boards_of_ended_sessions(board_home)
    devices: dict[tuple[Core, RuntimeKind], Device] = {}

    def start(core: Core, runtime: RuntimeKind) -> Device:
        if (core, runtime) not in devices:
            name = f"test-{core}-{runtime[:6]}-{os.getpid()}"
            create_board(name, core=core, runtime=runtime, home=board_home)
            devices[core, runtime] = device_of(start_board(name, home=board_home))
        return devices[core, runtime]

    yield start
    for device in devices.values():
        destroy_board(device.name, home=board_home)


@pytest.fixture(scope="session")
def adb_server() -> Iterator[None]:
    """An adb server for these tests alone."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("no adb here: apt-get install adb")
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as free:
        patch.setenv(adb.PORT_VARIABLE, str(free.getsockname()[1]))
        free.close()
        yield
        subprocess.run([program, "-P", str(adb.server_port()), "kill-server"], check=True)


@pytest.fixture(scope="session")
def started_phone(board_home: Path, adb_server: None) -> Iterator[VirtualPhone]:  # noqa: ARG001
    """One running virtual phone for all tests that leave it well."""
    _destroy_boards_of_ended_sessions(board_home)
    with virtual_phone(board_home) as phone:
        yield phone


@pytest.fixture
def new_phone(board_home: Path, adb_server: None) -> Iterator[NewPhone]:  # noqa: ARG001
    """Call for a running virtual phone of the test's own."""
    with ExitStack() as phones:
        yield lambda: phones.enter_context(virtual_phone(board_home))


@pytest.fixture(scope="session")
def cortex_a53(started_board: StartedBoard) -> Device:
    """A running Cortex-A53 board with ai-edge-litert."""
    return started_board("cortex-a53", "ai-edge-litert")


@pytest.fixture(scope="session")
def cortex_a76(started_board: StartedBoard) -> Device:
    """A running Cortex-A76 board with ai-edge-litert."""
    return started_board("cortex-a76", "ai-edge-litert")


def _destroy_boards_of_ended_sessions(board_home: Path) -> None:
    for board in list_boards(board_home):
        prefix, _, pid = board.name.rpartition("-")
        if prefix.startswith("test-") and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(UsageError):  # another session was faster
                destroy_board(board.name, home=board_home)
