"""A reboot by the device's policy: told to, waited for, and only when probes have failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from farm.database import Database
from farm.devices import register_devices
from farm.faults import Fault
from farm.health import Policy
from farm.probing import run_probe, take_for_probe
from farm.reboot import reboot
from farm.tables import DEVICES
from harness.device import Device, RunPolicy
from harness.errors import TransportError

COMMAND = ("sudo", "reboot")
DEVICE = Device("a", "ssh", ("arm-neon-litert",), policy=RunPolicy(reboot=COMMAND))


@dataclass
class Machine:
    """Goes away when it is told to reboot, and is back, another, after some connections."""

    away_for: int = 2
    boots: int = 1
    away: int = 0
    told: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def connect(self, _device: Device) -> Iterator[Any]:
        if self.away:
            self.away -= 1
            raise TransportError("no route", device="a")
        yield SimpleNamespace(run=self.run)

    def run(self, argv: tuple[str, ...], **_options: object) -> object:
        self.told.append(argv)
        if argv == COMMAND:
            self.boots, self.away = self.boots + 1, self.away_for
            raise TransportError("the connection broke", device="a")
        return SimpleNamespace(stdout=b"boot %d" % self.boots, exit_status=0)


def test_it_is_waited_for() -> None:
    machine = Machine()
    assert reboot(DEVICE, machine.connect, within_s=30, poll_s=0.01)
    assert machine.told.count(COMMAND) == 1


def test_one_that_does_not_go_down_or_does_not_come_back_is_told() -> None:
    assert not reboot(DEVICE, Machine(away_for=10**6).connect, within_s=0.1, poll_s=0.01)
    away = Machine(away=10**6)
    assert not reboot(DEVICE, away.connect, within_s=0.1, poll_s=0.01)
    assert away.told == []


def test_only_probes_that_fail_in_a_row_reboot(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebooted: list[int] = []
    register_devices(database, [DEVICE], host="lab-1")
    with database.begin() as connection:
        connection.execute(DEVICES.update().values(health="suspect"))
    probes = 0
    monkeypatch.setattr("farm.probing.reboot", lambda *_: rebooted.append(probes))
    for _ in range(6):
        probes += 1
        with database.begin() as connection:
            lease = take_for_probe(connection, "a", "worker lab-1/x", ttl_s=15)
        assert lease is not None
        run_probe(
            database, DEVICE, lease, connect=Machine().connect,
            probe=lambda *_: Fault("RunnerKilled", "SIGSEGV"), policy=Policy(probes=99),
        )  # fmt: skip
    assert rebooted == [3, 6]
