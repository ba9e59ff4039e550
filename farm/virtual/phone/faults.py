"""Faults that a virtual phone can be told to have, and when they strike."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "none",
    "offline",
    "unauthorized",
    "recovery",
    "sideload",
    "bootloader",
    "drop",
    "hang",
    "slow",
    "reboot",
    "full-disk",
    "wrong-data",
]
STATES = ("offline", "unauthorized", "recovery", "sideload", "bootloader")
"""Faults that adb shows as the phone's state; connections are dropped when they come and go."""
_ONCE = ("drop", "reboot", "wrong-data")


class Fault(BaseModel):
    """What goes wrong.

    Attributes:
        kind: ``drop`` breaks every connection, ``reboot`` does so too, kills all that runs and
            comes back, ``wrong-data`` alters one byte of what a command reads or prints: each
            happens once. ``hang`` stops every byte, ``slow`` slows them down, ``full-disk`` leaves
            no space under /data, and the rest are states that adb shows: these last until
            ``none``.
        after_bytes: it strikes once so many bytes have passed, both ways counted together.
        bytes_per_s: of ``slow``.
        seconds: how long the phone is away in a ``reboot``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind = "none"
    after_bytes: Annotated[int, Field(ge=0)] = 0
    bytes_per_s: Annotated[int, Field(ge=1)] = 64 << 10
    seconds: Annotated[float, Field(ge=0, le=600)] = 2.0


class Trouble:
    """The fault that a phone has.

    Args:
        strike: called when a fault begins that is not of the link itself.
    """

    def __init__(self, strike: Callable[[Fault], None]) -> None:
        self._strike = strike
        self._fault = Fault()
        self._left = 0
        self._struck = False
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def kind(self) -> FaultKind:
        """The fault that has struck and lasts."""
        return self._fault.kind if self._struck else "none"

    def set(self, fault: Fault) -> None:
        """Replace the fault; without bytes to wait for, the new one strikes at once."""
        self._fault, self._left, self._struck = fault, fault.after_bytes, False
        self._flows.set()
        self._count(0)

    async def carry(self, size: int) -> None:
        """Let so many bytes pass: as slowly as the fault wants, or not while it lasts."""
        self._count(size)
        await self._flows.wait()
        if self.kind == "slow":
            await asyncio.sleep(size / self._fault.bytes_per_s)

    def spoil(self, data: bytes) -> bytes:
        """What arrives of a command's input or output."""
        if self.kind != "wrong-data" or not data:
            return data
        self._fault = Fault()
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]

    def _count(self, size: int) -> None:
        if self._struck:
            return
        self._left -= size
        if self._left > 0:
            return
        self._struck = True
        fault = self._fault
        if fault.kind in _ONCE and fault.kind != "wrong-data":
            self._fault = Fault()
        if fault.kind == "hang":
            self._flows.clear()
        self._strike(fault)
