"""Virtual phones for tests: made, given faults, and destroyed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from farm.virtual.boards import create_board, destroy_board, device_of, set_fault, start_board
from farm.virtual.phone.control import PID_FILE
from farm.virtual.phone.faults import Fault, FaultKind
from harness.device import Device
from harness.errors import UsageError


@dataclass(frozen=True)
class VirtualPhone:
    """A running virtual phone."""

    name: str
    home: Path
    device: Device

    @property
    def serial(self) -> str:
        """By which adb knows it, once connected."""
        return f"{self.device.address.host}:{self.device.address.port}"

    @property
    def folder(self) -> Path:
        """What is its own on this host."""
        return self.home / "boards" / self.name

    def daemon(self) -> int | None:
        """The number of its adb daemon's process, another one after each reboot; None without."""
        try:
            return int((self.folder / "run" / PID_FILE).read_text())
        except FileNotFoundError:
            return None

    def have(self, kind: FaultKind, **numbers: float) -> None:
        """Give it a fault."""
        set_fault(self.name, Fault.model_validate({"kind": kind, **numbers}), home=self.home)


NewPhone = Callable[[], VirtualPhone]


@contextmanager
def virtual_phone(home: Path) -> Iterator[VirtualPhone]:
    """A running phone; nothing is left of it."""
    # The end is what tests/conftest.py knows a session that was killed by.
    name = f"test-phone-{uuid4().hex[:6]}-{os.getpid()}"
    create_board(name, kind="phone", home=home)
    try:
        yield VirtualPhone(name, home, device_of(start_board(name, home=home)))
    finally:
        with suppress(UsageError):  # the test has destroyed it
            destroy_board(name, home=home)


def wait_until(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    """Fail unless it happens in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s")
        time.sleep(0.05)
