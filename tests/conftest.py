"""Virtual boards for every test that asks for one."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.virtual.boards import create_board, destroy_board, device_of, list_boards, start_board
from farm.virtual.cpuinfo import Core
from farm.virtual.requirements import missing
from farm.virtual.rootfs import RuntimeKind
from harness.device import Device
from harness.errors import UsageError
from harness.home import home

StartedBoard = Callable[[Core, RuntimeKind], Device]

_BOARD_FIXTURES = {"started_board", "cortex_a53", "cortex_a76", "board_home"}
# Read now, for a test may point EDGEFARM_HOME elsewhere before the first board is asked for.
_HOME = Path(os.environ.get("EDGEFARM_TEST_HOME") or home())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _BOARD_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("board")


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
