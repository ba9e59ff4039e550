"""Health: quarantine follows failed probes, some faults wait for a person, the rest returns."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.database import Database
from farm.faults import NUMERIC, Fault
from farm.health import (
    Health,
    Policy,
    after_failed_probe,
    after_fault,
    after_passed_probe,
    by_hand,
)
from farm.observation import health_changes, observe, order
from harness.errors import UsageError
from tests.farm.jobs_in import add_devices, claim_on, submit_ready

POLICY = Policy()
GONE = Fault("TransportError", "unplugged")
CRASH = Fault("RunnerKilled", "SIGSEGV")
WRONG = Fault(NUMERIC, "3 elements differ")
STOLEN = Fault("HostKeyChanged", "another key")


def probes(health: Health, *faults: Fault | None) -> Health:
    for fault in faults:
        if fault is None:
            health = after_passed_probe(health, POLICY)
        else:
            health = after_failed_probe(health, fault, POLICY)
    return health


def test_a_fault_of_a_job_asks_for_a_probe_and_no_more() -> None:
    health = Health()
    for _ in range(100):
        health = after_fault(health, CRASH)
    assert (health.state, health.probe_in_s) == ("suspect", 0.0)
    assert probes(health, None).state == "healthy"


@pytest.mark.parametrize(
    ("fault", "state", "person"),
    [(GONE, "offline", False), (CRASH, "quarantined", False), (WRONG, "quarantined", True)],
)
def test_what_failed_probes_lead_to(fault: Fault, state: str, person: bool) -> None:
    health = probes(after_fault(Health(), fault), *[fault] * POLICY.probes)
    assert (health.state, health.waits_for_a_person) == (state, person)
    assert fault.message in health.cause


@pytest.mark.parametrize("kind", ["PhoneDisconnected", "PhoneOffline", "PhoneUnauthorized"])
def test_a_kind_of_a_lost_connection_is_one(kind: str) -> None:
    health = probes(Health("suspect"), *[Fault(kind, "unplugged")] * POLICY.probes)
    assert health.state == "offline"


def test_what_is_not_numeric_returns_on_its_own() -> None:
    offline = probes(Health("suspect"), *[GONE] * POLICY.probes)
    assert offline.probe_in_s == POLICY.offline_every_s
    assert probes(offline, None).state == "healthy"
    quarantined = probes(Health("suspect"), *[CRASH] * POLICY.probes)
    assert probes(quarantined, None).state == "suspect"
    assert probes(quarantined, None, None).state == "healthy"
    assert probes(quarantined, None, CRASH).state == "quarantined"


def test_a_numeric_fault_waits_for_a_person() -> None:
    health = probes(Health("suspect"), *[WRONG] * POLICY.numeric_probes)
    assert health.state == "quarantined"
    assert health.probe_in_s is None
    assert probes(health, None, None, GONE) == health
    assert after_fault(health, GONE) == health
    assert probes(by_hand("suspect", "module replaced"), None).state == "healthy"


def test_wrong_numbers_now_and_then_are_not_in_a_row() -> None:
    health = probes(Health("suspect"), *[WRONG, WRONG, CRASH] * 20)
    assert not health.waits_for_a_person


@pytest.mark.parametrize("begin", [Health(), Health("suspect"), Health("offline")])
def test_a_changed_host_key_quarantines_at_once(begin: Health) -> None:
    for health in (after_fault(begin, STOLEN), after_failed_probe(begin, STOLEN, POLICY)):
        assert health.state == "quarantined"
        assert health.waits_for_a_person


def test_probes_of_a_suspect_device_become_rarer() -> None:
    waits = [probes(Health("suspect"), *[CRASH] * n).probe_in_s for n in range(1, POLICY.probes)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0]


FAULTS = st.sampled_from([GONE, CRASH, WRONG, STOLEN])
STEPS = st.lists(st.tuples(st.sampled_from(["job", "probe", "pass"]), FAULTS), max_size=60)


@given(STEPS)
def test_only_a_failed_probe_or_a_changed_key_takes_a_device_out(
    steps: list[tuple[str, Fault]],
) -> None:
    health = Health()
    for kind, fault in steps:
        before = health
        if kind == "job":
            health = after_fault(health, fault)
        elif kind == "probe":
            health = after_failed_probe(health, fault, POLICY)
        else:
            health = after_passed_probe(health, POLICY)
        came = before.state not in {"quarantined", "offline"} and health.state in {
            "quarantined",
            "offline",
        }
        if came:
            assert kind == "probe" or fault is STOLEN
        if health.state in {"suspect", "offline", "healthy"}:
            assert health.probe_in_s is None or math.isfinite(health.probe_in_s)
            assert health.probe_in_s is not None or health == Health()
        if before.waits_for_a_person:
            assert health == before


def test_a_healthy_device_among_faults_is_hardly_ever_taken_out() -> None:
    """One operation in five fails; two hundred jobs a device, as in the figures to reach."""
    chance = random.Random(7)  # noqa: S311  a reproducible draw
    kinds = (GONE, GONE, GONE, CRASH, CRASH, WRONG)
    out = 0
    for _ in range(400):
        health = Health()
        for _ in range(200):
            if chance.random() < 0.2:
                health = after_fault(health, chance.choice(kinds))
            while health.state == "suspect":
                fails = chance.random() < 0.2
                health = probes(health, chance.choice(kinds) if fails else None)
            if health.state != "healthy":
                out += 1
                break
    assert out <= 4


def test_transitions_are_written_down_with_their_cause(database: Database) -> None:
    add_devices(database, ["a"])
    submit_ready(database)
    with database.begin() as connection:
        observe(connection, "a", lambda known: after_fault(known, CRASH))
        observe(connection, "a", lambda known: after_fault(known, CRASH))
    assert claim_on(database, "a") is None
    with database.begin() as connection:
        observe(connection, "a", lambda known: after_passed_probe(known, POLICY), seen=True)
    assert claim_on(database, "a") is not None
    order(database, "a", by_hand("maintenance", "new fan"))
    changes = health_changes(database, "a")
    assert [(one.before, one.after) for one in reversed(changes)] == [
        ("healthy", "suspect"),
        ("suspect", "healthy"),
        ("healthy", "maintenance"),
    ]
    assert changes[0].cause == "by hand: new fan"
    assert "SIGSEGV" in changes[2].cause


def test_an_unknown_device(database: Database) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        order(database, "nowhere", Health())
