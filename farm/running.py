"""Attempts: what this worker is doing on its devices now, and whether each may go on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from farm.parts import Claimed
from harness.errors import Cancelled, DeviceTimeout, LeaseLost


@dataclass
class Attempt:
    """One part on one device, now.

    Attributes:
        claimed: the part and its lease.
        deadline: on the monotonic clock.
        cancelled, lost: set by the worker's heart.
    """

    claimed: Claimed
    deadline: float
    cancelled: bool = False
    lost: bool = False

    def check(self) -> None:
        """Raise when the attempt must end: Cancelled, LeaseLost or DeviceTimeout."""
        device = self.claimed.lease.device
        if self.lost:
            raise LeaseLost("the lease is over in the farm's database", device=device)
        if self.cancelled:
            raise Cancelled(f"job {self.claimed.job} was cancelled")
        if time.monotonic() > self.deadline:
            limit = self.claimed.request.time_limit_s
            raise DeviceTimeout(f"not done after {limit:g} s", device=device)


@dataclass
class Attempts:
    """All of this worker's. Devices are in it from the claim on, before their attempt begins."""

    _use: threading.Lock = field(default_factory=threading.Lock)
    _devices: dict[str, int] = field(default_factory=dict)
    _running: dict[str, Attempt] = field(default_factory=dict)

    @contextmanager
    def holding(self, device: str) -> Iterator[None]:
        """The device is in use: its lease is kept alive."""
        with self._use:
            self._devices[device] = self._devices.get(device, 0) + 1
        try:
            yield
        finally:
            with self._use:
                self._devices[device] -= 1
                if not self._devices[device]:
                    del self._devices[device]

    @contextmanager
    def running(self, claimed: Claimed) -> Iterator[Attempt]:
        """The attempt runs until the end of the context."""
        attempt = Attempt(claimed, time.monotonic() + claimed.request.time_limit_s)
        device = claimed.lease.device
        with self.holding(device):
            with self._use:
                self._running[device] = attempt
            try:
                yield attempt
            finally:
                with self._use:
                    del self._running[device]

    def devices(self) -> list[str]:
        """Names of the devices in use."""
        with self._use:
            return list(self._devices)

    def now(self) -> list[Attempt]:
        """The attempts that run."""
        with self._use:
            return list(self._running.values())
