"""Tells a running virtual phone what goes wrong with it."""

import os
import socket
from pathlib import Path

from farm.virtual.phone.faults import Fault
from harness.errors import DeviceError

SOCKET = "control"
PID_FILE = "adbd.pid"
"""In the phone's ``run``, as the socket: it is there while the daemon listens."""
_TIMEOUT_S = 10.0


def set_fault(name: str, run: Path, fault: Fault) -> None:
    """Have a fault; it is in force, or waits for its bytes, when this returns.

    Args:
        name: of the phone.
        run: its folder ``run``.
        fault: replaces the one that it has.

    Raises:
        DeviceError: it is not running, or does not answer.
    """
    try:
        folder = os.open(run, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_TIMEOUT_S)
                # Through the descriptor: the path of a Unix socket may have no more than 107 bytes.
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
                connection.sendall(fault.model_dump_json().encode())
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(1024).decode(errors="replace").strip()
        finally:
            os.close(folder)
    except OSError as error:
        raise DeviceError(
            f"the virtual phone does not take a fault ({error}); is it running?", device=name
        ) from error
    if answer != "ok":
        raise DeviceError(f"the virtual phone answered: {answer or 'nothing'}", device=name)
