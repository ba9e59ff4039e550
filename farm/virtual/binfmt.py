"""Lets the kernel start aarch64 programs with QEMU's user mode emulation (binfmt_misc)."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from farm.virtual.commands import run_tool

_MOUNT_POINT = Path("/proc/sys/fs/binfmt_misc")
_OWN_NAME = "edgefarm-aarch64"
_QEMU = "qemu-aarch64-static"
# An ELF header: 64 bit, little endian, executable or shared object, machine 183 (aarch64).
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_FLAGS = "OPF"
"""F: the kernel opens QEMU once, at registration, so that it need not be inside a board.
P: a program sees the argv[0] it was called by (busybox asks)."""


def ensure_registered(board: str) -> str:
    """Mount binfmt_misc and register qemu-aarch64 unless a usable registration is there.

    Returns:
        What the board is to write into a binfmt_misc of its own, for this user may not write into
        the host's; empty when the host's does.
    """
    if find_registration() is not None:
        return ""
    rule = f":{_OWN_NAME}:M::{_MAGIC}:{_MASK}:{shutil.which(_QEMU)}:{_FLAGS}"
    if os.geteuid() != 0:
        return rule
    if not (_MOUNT_POINT / "register").exists():
        run_tool(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", str(_MOUNT_POINT)],
            board=board,
            what="mounting binfmt_misc",
        )
    if find_registration() is not None:
        return ""
    try:
        (_MOUNT_POINT / "register").write_text(rule)
    except OSError as error:
        if error.errno != errno.EEXIST:  # another process registered it in the meantime
            raise
    return ""


def find_registration() -> Path | None:
    """The host's usable registration of aarch64 programs, if it has one."""
    with contextlib.suppress(OSError):  # not mounted, or no such file system
        return next((entry for entry in _MOUNT_POINT.iterdir() if _is_usable(entry)), None)
    return None


def _is_usable(entry: Path) -> bool:
    """An enabled registration of aarch64 programs whose interpreter the kernel holds open."""
    with contextlib.suppress(OSError):  # another process may remove it meanwhile
        lines = entry.read_text().splitlines()
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        magic = fields.get("magic", "")
        return (
            "enabled" in lines
            and "qemu-aarch64" in fields.get("interpreter", "") + entry.name
            and magic.endswith("b700")
            and "F" in fields.get("flags:", "")
        )
    return False
