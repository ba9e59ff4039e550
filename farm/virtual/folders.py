"""A board's folder: its record, its keys, its port, its writable layer."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from farm.virtual.cpuinfo import Core
from farm.virtual.keys import fingerprint, write_key
from farm.virtual.locks import locked
from farm.virtual.phone.system import write_own
from farm.virtual.privilege import own_folder, remove_tree
from farm.virtual.processes import Kind
from farm.virtual.rootfs import RuntimeKind
from farm.virtual.settings import USER, make_folder, write_file
from harness.errors import UsageError
from harness.host.progress import Progress, no_progress
from harness.host.wording import first_fault

_PORTS = range(22_000, 23_000)  # below the ports that kernels give to outgoing connections


class Record(BaseModel):
    """`board.json`: what is kept of a board while it is down; a phone has no host key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = 1
    kind: Kind = "board"
    core: Core
    runtime: RuntimeKind
    rootfs: str
    port: int
    host_key: str


@contextmanager
def all_boards(home: Path, progress: Progress = no_progress) -> Iterator[Path]:
    """Hold the lock over every board of this home; yields the folder that they are in.

    Removes what a killed holder had begun to make or to remove.
    """
    boards = own_folder(home / "boards")
    with locked(boards / ".lock", "another process changes the boards", progress):
        for left_behind in (*boards.glob(".new-*"), *boards.glob(".old-*")):
            remove_tree(left_behind)
        yield boards


def fill_phone(folder: Path, *, core: Core, rootfs: str, port: int) -> None:
    """Put into an empty folder everything that a phone starts from."""
    folder.chmod(0o700)
    for name in ("root", "run"):
        make_folder(folder / name)
    write_own(folder)
    record = Record(kind="phone", core=core, runtime="none", rootfs=rootfs, port=port, host_key="")
    write_record(folder, record)


def fill(folder: Path, *, core: Core, runtime: RuntimeKind, rootfs: str, port: int) -> None:
    """Put into an empty folder everything that a board starts from."""
    folder.chmod(0o700)
    for name in ("root", "run", "work", "upper", "upper/etc", "upper/etc/ssh"):
        make_folder(folder / name)
    ssh = folder / "upper/etc/ssh"
    authorized = make_folder(ssh / "authorized_keys") / USER
    write_file(authorized, write_key(folder / "login_key") + "\n")
    host_key = fingerprint(write_key(ssh / "ssh_host_ed25519_key"))
    record = Record(core=core, runtime=runtime, rootfs=rootfs, port=port, host_key=host_key)
    write_record(folder, record)


def read_record(folder: Path) -> Record:
    """The record of the board in `folder`; UsageError when it is broken."""
    try:
        return Record.model_validate_json((folder / "board.json").read_bytes())
    except (OSError, ValidationError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else error
        raise UsageError(
            f"{folder / 'board.json'} is not a board's record: {why}; "
            f"destroy the board {folder.name} and create it again"
        ) from error


def write_record(folder: Path, record: Record) -> None:
    """Replace the record of the board in `folder`."""
    new = folder / ".board.json.new"
    new.write_text(record.model_dump_json(indent=2) + "\n")
    new.replace(folder / "board.json")


def free_port(home: Path) -> int:
    """A loopback port that nobody listens on and no other board of this home has."""
    taken = {read_record(file.parent).port for file in home.glob("boards/*/board.json")}
    # By chance: a board of another home may be about to listen where nobody does yet, or be away
    # for a moment, as a phone that starts again is.
    start = secrets.randbelow(len(_PORTS))
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        if port not in taken and is_free(port):
            return port
    raise UsageError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1} on 127.0.0.1")


def is_free(port: int) -> bool:
    """Whether an sshd could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
