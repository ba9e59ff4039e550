"""Latency statistics."""

import numpy as np
import pytest

from harness.device import Device
from harness.on_device.latency import latency_from
from harness.protocol import MachineState, Result

DEVICE = Device("board", "ssh")


def cold(mhz: int = 0, **temperatures_c: int) -> MachineState:
    return MachineState(
        frequencies_khz=(mhz * 1000, 600_000) if mhz else (),
        temperatures_millidegree={zone: c * 1000 for zone, c in temperatures_c.items()},
    )


def test_restarts_are_the_unit_of_replication() -> None:
    # Pooled, the median would be 10; of the restarts' medians it is 20.
    results = [
        Result(latency_ns=(10,) * 9, warmup_ns=(99,)),
        Result(latency_ns=(20, 20, 20)),
        Result(latency_ns=(30, 30, 40)),
    ]
    latency = latency_from(results, DEVICE)
    assert latency is not None
    assert latency.median_ns == 20
    assert latency.interval_ns == (10, 30)
    pooled = [10] * 9 + [20] * 3 + [30, 30, 40]
    assert latency.p90_ns == np.percentile(pooled, 90)
    assert latency.p99_ns == np.percentile(pooled, 99)
    assert latency.samples_ns == tuple(result.latency_ns for result in results)
    assert latency.warmup_ns == ((99,), (), ())
    assert (latency.representative, latency.remark) == (True, "")


def test_one_restart_takes_the_interval_over_its_samples() -> None:
    samples = tuple(int(x) for x in np.random.default_rng(1).normal(1e6, 1e4, 200))
    latency = latency_from([Result(latency_ns=samples)], DEVICE)
    assert latency is not None
    low, high = latency.interval_ns
    assert low < latency.median_ns < high
    # The asymptotic interval of a median is about 1.96 * 1.25 * sigma / sqrt(n) to each side.
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 * 1e4 / np.sqrt(200), rel=0.5)


def test_the_same_samples_give_the_same_interval() -> None:
    samples = tuple(int(x) for x in np.random.default_rng(2).normal(1e6, 1e4, 64))
    assert latency_from([Result(latency_ns=samples)], DEVICE) == latency_from(
        [Result(latency_ns=samples)], DEVICE
    )


def test_nothing_timed_is_no_latency() -> None:
    assert latency_from([], DEVICE) is None
    assert latency_from([Result(load_ns=5)], DEVICE) is None


def test_a_virtual_board_is_not_representative() -> None:
    latency = latency_from([Result(latency_ns=(5,))], Device("v", "ssh", virtual=True))
    assert latency is not None
    assert not latency.representative
    assert latency.remark == "virtual board: emulated time, not a device's"


@pytest.mark.parametrize(
    ("before", "after", "remark"),
    [
        (cold(2400), cold(2200), ""),
        (cold(2400), cold(1800), "throttled: the fastest core fell from 2400 to 1800 MHz"),
        (cold(), cold(1800), ""),
        (cold(2400), cold(), ""),
        (cold(cpu=40), cold(cpu=55), ""),
        (cold(cpu=40), cold(cpu=56), "throttled: cpu rose from 40 to 56 °C"),
        (cold(gpu=40), cold(cpu=90), ""),
    ],
)
def test_throttling(before: MachineState, after: MachineState, remark: str) -> None:
    latency = latency_from([Result(latency_ns=(5,), before=before, after=after)], DEVICE)
    assert latency is not None
    assert latency.remark.startswith(remark)
    assert latency.representative == (not remark)


def test_heat_that_builds_up_over_restarts_is_seen() -> None:
    results = [
        Result(latency_ns=(5,), before=cold(cpu=c), after=cold(cpu=c + 10)) for c in (40, 50, 60)
    ]
    latency = latency_from(results, DEVICE)
    assert latency is not None
    assert latency.remark == "throttled: cpu rose from 40 to 60 °C by restart 2"
