"""Virtual boards: real Debian arm64 under QEMU's user mode emulation, each with its own sshd.

A board is a folder ``home/boards/NAME``: an overlay over a shared root file system, two key pairs
and `board.json`. It starts in its own namespaces and outlives the process that started it. A phone
(`farm.virtual.phone`) is a board of another kind: an adb daemon in place of the sshd.
"""

import contextlib
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from farm.phones import WORKDIR
from farm.transports import adb
from farm.virtual import processes
from farm.virtual.binfmt import ensure_registered
from farm.virtual.commands import host_faults
from farm.virtual.cpuinfo import CORES, Core, cpuinfo
from farm.virtual.folders import (
    all_boards,
    fill,
    fill_phone,
    free_port,
    is_free,
    read_record,
    write_record,
)
from farm.virtual.phone import control
from farm.virtual.phone.faults import Fault
from farm.virtual.phone.system import CORES as PHONE_CORES
from farm.virtual.phone.system import DATA_BYTES
from farm.virtual.privilege import remove_tree
from farm.virtual.processes import Kind
from farm.virtual.requirements import missing
from farm.virtual.rootfs import SPECS, RuntimeKind, ensure_rootfs
from farm.virtual.settings import PID_FILE, UID, USER, make_folder, write_file
from harness.device import Address, Device
from harness.errors import DeviceError, UsageError
from harness.host.progress import Progress, no_progress

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_START_LIMIT_S = 30.0
_LAUNCHES = 3
_PHONE_TARGETS = ("arm-neon-litert",)
_BOARD_TARGETS = (*_PHONE_TARGETS, "arm-neon-executorch")
"""Whatever runtime it carries: native runners go to a board without Python."""
_LISTENS: dict[Kind, str] = {"board": PID_FILE, "phone": control.PID_FILE}
"""File in a board's ``run`` that is there once it listens."""


@dataclass(frozen=True)
class Board:
    """A virtual board as it stands.

    Attributes:
        name: its folder's and its host name.
        kind: ``board`` (SSH) or ``phone`` (adb).
        core: the core that QEMU emulates.
        runtime: the inference runtime it carries.
        folder: everything that is the board's own.
        port: of its sshd or its adb daemon, on 127.0.0.1; kept from start to start unless somebody
            took it.
        host_key: fingerprint of its host key; empty for a phone.
        pid: of the process all its others descend from; None when it is stopped.
    """

    name: str
    kind: Kind
    core: Core
    runtime: RuntimeKind
    folder: Path
    port: int
    host_key: str
    pid: int | None

    @property
    def running(self) -> bool:
        """Whether its processes are there."""
        return self.pid is not None


def create_board(
    name: str,
    *,
    kind: Kind = "board",
    core: Core = "cortex-a76",
    runtime: RuntimeKind | None = None,
    home: Path,
    progress: Progress = no_progress,
) -> Board:
    """Make a board, stopped; the first of its runtime kind also builds the root file system.

    Args:
        name: see `Board`, as all that follow.
        kind: see `Board`.
        core: see `Board`.
        runtime: by default ``ai-edge-litert``; a phone has none, and takes none.
        home: where boards and root file systems are.
        progress: told what is being done.

    Raises:
        UsageError: something lacks on this host, the name is taken or no host name, or there is
            no such core or runtime.
        DeviceError: the root file system cannot be built.
    """
    runtime = _choose_runtime(name, kind, runtime)
    _check_names(name, core, runtime)
    _require_host()
    _refuse_taken(name, home)
    with host_faults(name):
        rootfs = ensure_rootfs("phone" if kind == "phone" else runtime, home, progress)
    with host_faults(name), all_boards(home, progress) as boards:
        _refuse_taken(name, home)
        building = Path(tempfile.mkdtemp(prefix=".new-", dir=boards))
        port = free_port(home)
        if kind == "phone":
            fill_phone(building, core=core, rootfs=rootfs, port=port)
        else:
            fill(building, core=core, runtime=runtime, rootfs=rootfs, port=port)
        building.rename(boards / name)
    return find_board(name, home=home)


def start_board(name: str, *, home: Path, progress: Progress = no_progress) -> Board:
    """Start a board and wait until it listens; a running one is left as it is.

    Raises:
        UsageError: no such board, or something lacks on this host.
        DeviceError: it did not come up; the end of its log is in the error.
    """
    with host_faults(name), all_boards(home, progress):
        board = find_board(name, home=home)
        if not board.running:
            _require_host()
            progress(f"starting {name}", 0, 1)
            _launch_where_free(board, ensure_registered(name))
        else:
            _wait_until_up(board)
        progress(f"{name} is up", 1, 1)
    return find_board(name, home=home)


def stop_board(name: str, *, home: Path) -> Board:
    """End a board's processes, and with them its mounts; a stopped one is left as it is."""
    with host_faults(name), all_boards(home):
        _stop(_folder(name, home))
    return find_board(name, home=home)


def destroy_board(name: str, *, home: Path) -> None:
    """Stop a board and remove all that is its own, even when its record is broken.

    Shared root file systems stay.
    """
    with host_faults(name), all_boards(home) as boards:
        folder = _folder(name, home)
        _stop(folder)
        doomed = boards / f".old-{name}"
        folder.rename(doomed)
        remove_tree(doomed)


def list_boards(home: Path) -> list[Board]:
    """Every board, by name; UsageError when the record of one is broken."""
    records = sorted((home / "boards").glob("[!.]*/board.json"))
    return [find_board(record.parent.name, home=home) for record in records]


def find_board(name: str, *, home: Path) -> Board:
    """The board of that name.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    folder = _folder(name, home)
    record = read_record(folder)
    return Board(
        name=name,
        kind=record.kind,
        core=record.core,
        runtime=record.runtime,
        folder=folder,
        port=record.port,
        host_key=record.host_key,
        pid=processes.find(folder),
    )


def device_of(board: Board) -> Device:
    """The board as an inventory entry like any physical board's."""
    if board.kind == "phone":
        return Device(
            name=board.name,
            transport="adb",
            targets=_PHONE_TARGETS,
            address=Address("127.0.0.1", board.port),
            tags=("virtual", "phone", board.core),
            virtual=True,
            core=board.core,
            workdir=WORKDIR,
            python=None,
        )
    return Device(
        name=board.name,
        transport="ssh",
        targets=_BOARD_TARGETS,
        address=Address("127.0.0.1", board.port, USER, str(board.folder / "login_key")),
        host_key=board.host_key,
        tags=("virtual", board.core, board.runtime),
        virtual=True,
        core=board.core,
        python=None if board.runtime == "none" else "/usr/bin/python3",
    )


def set_fault(name: str, fault: Fault, *, home: Path) -> None:
    """Have a running phone suffer a fault, for tests and demos; ``none`` mends it.

    Raises:
        UsageError: no such board, or it is no phone.
        DeviceError: it is not running.
    """
    board = find_board(name, home=home)
    if board.kind != "phone":
        raise UsageError(f"{name} is a {board.kind}; only virtual phones take faults")
    control.set_fault(name, board.folder / "run", fault)


def _choose_runtime(name: str, kind: Kind, runtime: RuntimeKind | None) -> RuntimeKind:
    if kind == "board":
        return runtime or "ai-edge-litert"
    if runtime not in (None, "none"):
        raise UsageError(f"runtime {runtime!r} of phone {name}: a phone carries none")
    return "none"


def _require_host() -> None:
    if lacking := missing():
        raise UsageError("virtual boards cannot run here:\n  " + "\n  ".join(lacking))


def _check_names(name: str, core: str, runtime: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"board name {name!r}: allowed are a to z, 0 to 9 and, not at an end, '-'; 40 at most"
        )
    for what, value, allowed in (("core", core, CORES), ("runtime", runtime, tuple(SPECS))):
        if value not in allowed:
            raise UsageError(f"{what} {value!r} of board {name}: allowed: {', '.join(allowed)}")


def _refuse_taken(name: str, home: Path) -> None:
    if (home / "boards" / name).exists():
        raise UsageError(f"board {name} exists; destroy it first or choose another name")


def _launch_where_free(board: Board, rule: str) -> None:
    """Start the processes; somebody may take the port between our look at it and theirs."""
    for left in reversed(range(_LAUNCHES)):
        _launch(board, rule)
        try:
            _wait_until_up(board)
        except DeviceError:
            if not left or is_free(read_record(board.folder).port):
                raise
        else:
            return


def _launch(board: Board, rule: str) -> None:
    record = read_record(board.folder)
    if not is_free(record.port):
        home = board.folder.parent.parent
        record = record.model_copy(update={"port": free_port(home)})
        write_record(board.folder, record)
    run = board.folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    make_folder(run)
    make_folder(run / "sshd")
    processors = PHONE_CORES if board.kind == "phone" else None
    write_file(board.folder / "cpuinfo", cpuinfo(board.core, processors))
    arguments = [board.name, board.core, str(record.port), record.rootfs, str(UID), rule]
    if board.kind == "phone":
        arguments += [sys.executable, str(DATA_BYTES)]
    processes.launch(board.kind, arguments, board.folder, board.core, board.folder / "log")


def _wait_until_up(board: Board) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    missed = 0
    while not (board.folder / "run" / _LISTENS[board.kind]).exists():
        pid = processes.find(board.folder)
        # While a process executes a program, it has no command line: missed once is not gone.
        missed = 0 if pid is not None else missed + 1
        if missed < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
            continue
        if pid is not None:
            processes.kill(pid)
        why = "ended while it started" if pid is None else f"not up after {_START_LIMIT_S:g} s"
        log = (board.folder / "log").read_text(errors="replace")
        raise DeviceError(why, device=board.name, stderr=log)


def _stop(folder: Path) -> None:
    pid = processes.find(folder)
    if pid is not None:
        processes.kill(pid)
    with contextlib.suppress(UsageError):  # a broken record: nobody can be connected by it
        record = read_record(folder)
        if record.kind == "phone":
            adb.forget(f"127.0.0.1:{record.port}")


def _folder(name: str, home: Path) -> Path:
    if _NAME.fullmatch(name) is None or not (home / "boards" / name).is_dir():
        known = ", ".join(sorted(path.parent.name for path in home.glob("boards/*/board.json")))
        raise UsageError(f"no virtual board {name!r}; there are: {known or 'none'}")
    return (home / "boards" / name).resolve()  # one spelling: its processes are found by it
