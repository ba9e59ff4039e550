"""Starts, finds and ends the processes of a board. The process table is the only record of them.

A board is one `unshare` with no parent in edgefarm, whose only child is process 1 of the board's
pid namespace; the kernel ends that namespace's other processes with it. It is killed, not asked: a
crashed process 1 ignores TERM.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from farm.virtual.privilege import namespace_options

Kind = Literal["board", "phone"]

_LAUNCH = {
    "board": Path(__file__).with_name("launch.sh"),
    "phone": Path(__file__).parent / "phone" / "launch.sh",
}
_PACKAGES = Path(__file__).parents[2]
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc")


def launch(kind: Kind, arguments: Sequence[str], folder: Path, core: str, log: Path) -> None:
    """Start a board's processes, detached from this one; returns at once."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        "PYTHONPATH": str(_PACKAGES),  # a phone's daemon is a program of ours
        "QEMU_CPU": core,
    }
    with log.open("wb") as output:
        subprocess.run(
            [
                *("setsid", "--fork", "unshare", *namespace_options(), *_NAMESPACES),
                *("--fork", "--kill-child=KILL"),
                *("sh", str(_LAUNCH[kind]), *arguments, str(folder)),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,  # whoever waits for the board sees that it is not there
        )


def find(folder: Path) -> int | None:
    """The process of the board in `folder` that all others descend from; None when it is down."""
    for pid in _pids():
        argv = _argv(pid)
        if argv[-1:] == [str(folder)] and argv[0] in ("setsid", "unshare"):
            return pid
    return None


def kill(pid: int, timeout_s: float = 10.0) -> None:
    """End a board's processes and wait until they have ended.

    Raises:
        TimeoutError: the kernel did not end them within the limit.
    """
    with contextlib.ExitStack() as stack:
        waited_for = []
        for victim in (pid, *_children(pid)):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(victim)
                stack.callback(os.close, handle)
                waited_for.append(handle)
        for handle in waited_for:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in waited_for:
            if not select.select([handle], [], [], timeout_s)[0]:
                raise TimeoutError(f"process {pid} did not end within {timeout_s:g} s of KILL")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _argv(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _children(parent: int) -> list[int]:
    return [pid for pid in _pids() if _parent(pid) == parent]


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    return int(stat.rpartition(")")[2].split()[1])
