"""Runs the host's tools that build boards."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import DeviceError

DIES_WITH_CREATOR = ("setpriv", "--pdeathsig", "KILL")
"""Prefix of a command that must not outlive the process that asked for it, however that ends."""


@contextmanager
def host_faults(board: str) -> Iterator[None]:
    """Turn what this host refuses (disk full, no permission) into the board's DeviceError."""
    try:
        yield
    except OSError as error:
        raise DeviceError(f"this host refused: {error}", device=board) from error


def run_tool(argv: Sequence[str], *, board: str, what: str, lock: int | None = None) -> str:
    """Run a command on the host to its end.

    Args:
        argv: the command.
        board: what it is run for, for the error.
        what: what it does, for the error.
        lock: descriptor of a lock that the command holds with us: if we are killed, the lock is
            free when the command has ended too.

    Returns:
        What it printed on standard output.

    Raises:
        DeviceError: it failed; carries the command, its status and the end of its standard error.
    """
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        pass_fds=() if lock is None else (lock,),
        umask=0o022,  # the board's login user reads what the tool writes
    )
    if done.returncode != 0:
        raise DeviceError(
            f"{what} failed on this host",
            device=board,
            argv=argv,
            exit_status=done.returncode,
            stderr=done.stderr,
        )
    return done.stdout
