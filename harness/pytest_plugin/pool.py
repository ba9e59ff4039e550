"""The devices that this process holds, each under a lease that a thread keeps alive.

A killed process loses them by the lease's expiry. Processes of one test run (xdist) wait for each
other as long as it takes; whoever waits holds nothing, so they cannot block each other.
"""

import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from farm.database import open_database
from farm.devices import Known, known_devices, named_for, register_devices
from farm.faults import fault_of_error
from farm.inventory import HOST, inventory_path, load_inventory
from farm.leases import USABLE, Leased, holder_name, leased
from farm.observation import note_fault
from farm.selection import Selector
from farm.transports import connect
from harness.errors import DeviceError, DevicesBusy, NoDevice

LOG = logging.getLogger("edgefarm.pytest")
_POLL_S = 0.5
_TURN_S = 5.0
"""A device that went from sibling to sibling between two looks was seen with none of them."""
_HOPEFUL = (*USABLE, "suspect")
"""Health of the devices that are worth waiting for."""


class Pool:
    """Devices of this machine's inventory, held until they are given back.

    Args:
        names: the only ones to use; empty for all.
        wait_s: how long to wait for devices that others use.
        run: id of the test run that several processes share; empty for a run of one process.

    Raises:
        UsageError: a name is not in the inventory, or the inventory cannot be read.
    """

    def __init__(self, names: Sequence[str], *, wait_s: float, run: str = "") -> None:
        inventory = load_inventory(inventory_path())
        chosen = [inventory.get_device(name) for name in names] or inventory.devices
        here = socket.gethostname()
        self._names = {named_for(device, here).name for device in chosen}
        self._wait_s = wait_s
        self._holder = f"pytest-{run[:8]}" if run else "pytest"
        self._siblings = f"{self._holder}@" if run else None
        self._held: dict[str, tuple[Leased, ExitStack]] = {}
        self._failed: set[str] = set()
        self._refused: dict[str, str] = {}
        self._database = open_database(os.environ.get("EDGEFARM_DATABASE") or None)
        register_devices(self._database, [one for one in inventory.devices if one.name != HOST])
        register_devices(self._database, [named_for(inventory.get_device(HOST), here)])

    def hold(self, selector: Selector) -> tuple[Leased, ...]:
        """Hold as many devices as the selector asks for; those held already come first.

        Raises:
            NoDevice: fewer devices match.
            DevicesBusy: too few of them became free in time.
        """
        deadline = time.monotonic() + max(self._wait_s, _TURN_S if self._siblings else 0)
        while True:
            matching = self._matching(selector)
            if held := self._take(matching, selector.count or len(matching)):
                return held
            self.release()
            hopeful = [one for one in matching if one.health in _HOPEFUL]
            if any(self._is_siblings(one) for one in hopeful):
                deadline = max(deadline, time.monotonic() + _TURN_S)
            late = time.monotonic() >= deadline
            if late or len(hopeful) < (selector.count or 1):
                raise DevicesBusy(
                    f"no device for {selector}: {'; '.join(map(self._why_not, matching))}; "
                    "see `edgefarm device state`"
                )
            time.sleep(_POLL_S)

    def set_aside(self, name: str) -> None:
        """Give a device back that failed; it is taken again only when no other one is there."""
        self._failed.add(name)
        if name in self._held:
            self._give_back(name)

    def note(self, error: DeviceError) -> None:
        """Tell the farm of a device that failed, as a job would.

        Only where a lab host's worker serves it: nobody else would probe it and make it healthy.
        """
        fault = fault_of_error(error)
        if fault is None or error.device not in self._names:
            return
        try:
            with self._database.begin() as connection:
                served = {one.device.name for one in known_devices(connection) if one.host}
                if error.device in served:
                    note_fault(connection, error.device, fault)
        except SQLAlchemyError as trouble:  # the test's own error is what must be told
            LOG.warning("health of %s: not noted: %s", error.device, trouble)

    def release(self) -> None:
        """Give all devices back."""
        for name in list(self._held):
            self._give_back(name)

    def close(self) -> None:
        """Give all devices back, for good."""
        try:
            self.release()
        finally:
            self._database.close()

    def _matching(self, selector: Selector) -> list[Known]:
        """Those of our devices that match, the ones to take first at the front."""
        with self._database.begin() as connection:
            known = [one for one in known_devices(connection) if one.device.name in self._names]
        found = [one for one in known if selector.matches(one.device, one.host)]
        if len(found) < (selector.count or 1):
            target = selector.target or "TARGET"
            there = ", ".join(one.device.name for one in known)
            raise NoDevice(
                f"{len(found)} of {selector.count} devices for {replace(selector, count=1)}, "
                f"there are: {there}; add one: "
                f"edgefarm device add NAME --ssh USER@HOST --target {target}, "
                "or a virtual one: edgefarm board create NAME"
            )
        found.sort(
            key=lambda one: (one.device.name in self._failed, one.device.name not in self._held)
        )
        return found

    def _take(self, matching: Sequence[Known], count: int) -> tuple[Leased, ...]:
        """All that are wanted, or none."""
        got: list[Leased] = []
        for known in matching:
            held = self._lease(known.device.name)
            if held is not None:
                got.append(held)
            if len(got) == count:
                return tuple(got)
        return ()

    def _lease(self, name: str) -> Leased | None:
        if name in self._held:
            held, _ = self._held[name]
            if not held.lost.is_set():
                return held
            self._give_back(name)
        stack = ExitStack()
        one = Selector(name=name)
        try:
            holding = leased(self._database, one, connect, holder=holder_name(self._holder))
            held = stack.enter_context(holding)
        except DevicesBusy as error:
            self._refused[name] = str(error)
            return None
        self._held[name] = held, stack
        return held

    def _give_back(self, name: str) -> None:
        _, stack = self._held.pop(name)
        stack.close()

    def _is_siblings(self, known: Known) -> bool:
        """Whether another process of this test run has the device."""
        return bool(self._siblings and known.holder and known.holder.startswith(self._siblings))

    def _why_not(self, known: Known) -> str:
        name = known.device.name
        if known.health not in USABLE:
            back = (
                f"; bring it back: edgefarm device resume {name}"
                if known.health not in _HOPEFUL
                else ""
            )
            return f"{name} is {known.health} ({known.cause}){back}"
        if known.holder is None:
            return f"{name}: {self._refused.get(name, 'in use a moment ago')}"
        return f"{name} is in use by {known.holder}"
