"""Keeps a program on some of a device's cores: phones have fast and slow ones."""

import re

from harness.errors import UsageError

_MOST_CPUS = 256


def pin_to(cpus: str | None) -> tuple[str, ...]:
    """The words before a command that keep it on some cores; none for None.

    A mask in hexadecimal is what the taskset of toybox, busybox and util-linux all take.

    Raises:
        UsageError: not a list of cores.
    """
    if cpus is None:
        return ()
    mask = 0
    for part in cpus.split(","):
        match = re.fullmatch("([0-9]{1,3})(?:-([0-9]{1,3}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if first > last or last >= _MOST_CPUS:
            raise UsageError(f"cpus {cpus!r}: expected cores below {_MOST_CPUS}, as in 0,4-7")
        mask |= (1 << (last + 1)) - (1 << first)
    return ("taskset", f"{mask:x}")
