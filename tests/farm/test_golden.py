"""The golden model says what a device is worth: right, wrong, or out of reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from farm.golden import MODEL, golden_target, run_golden
from farm.inventory import host_device
from farm.transports import connect
from harness.device import Address, Device, PullLimits, Transport
from harness.records import Outcome
from targets import get_target


def test_which_target_it_runs_on() -> None:
    target = golden_target(Device("d", "adb", targets=("arm-neon-executorch", "arm-neon-litert")))
    assert target is get_target("arm-neon-litert")
    assert golden_target(Device("d", "adb", targets=("arm-neon-executorch",))) is None
    assert MODEL.stat().st_size < 16 << 10


def test_this_host_is_right() -> None:
    run = run_golden(host_device(), get_target("host-litert"), connect)
    assert run.outcome is Outcome.PASS
    assert run.exactness is not None
    assert [output.differing for output in run.exactness.outputs] == [0]


def test_a_device_that_computes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one output differs: a file as good as any, but for its numbers."""

    @contextmanager
    def wrong(device: Device) -> Iterator[Transport]:
        with connect(device) as transport:
            pull = transport.pull

            def spoil(
                remote: str, local: Path, *, limits: PullLimits, timeout_s: float
            ) -> tuple[Path, ...]:
                files = pull(remote, local, limits=limits, timeout_s=timeout_s)
                y = np.load(local / "out0.npy")
                if y.shape == (8, 10):  # the outputs, not a tensor that is traced
                    y[3, 1] ^= 1
                    np.save(local / "out0.npy", y)
                return files

            monkeypatch.setattr(transport, "pull", spoil)
            yield transport

    run = run_golden(host_device(), get_target("host-litert"), wrong)
    assert run.outcome is Outcome.FAIL
    assert run.exactness is not None
    assert run.exactness.outputs[0].differing == 1


def test_a_device_that_is_not_there() -> None:
    away = Device(
        "away",
        "ssh",
        ("arm-neon-litert",),
        address=Address("127.0.0.1", 1, "edge"),
        host_key="SHA256:x",
    )
    run = run_golden(away, get_target("arm-neon-litert"), connect)
    assert run.outcome is Outcome.ERROR
    assert run.failure is not None
    assert run.failure.kind == "TransportError"
