"""Verify on a board without Python: the native runner gives every tensor, over the same job."""

from pathlib import Path

import pytest

from farm.transports import connect
from harness.on_device.deploy import choose_runner
from harness.verify.verification import standing_for, verify
from targets.arm_neon import ARM_NEON_LITERT
from tests.conftest import StartedBoard
from tests.oracle.networks import RESIDUAL_TENSORS, residual

pytestmark = pytest.mark.slow


def test_every_tensor_is_judged(started_board: StartedBoard, tmp_path: Path) -> None:
    device = started_board("cortex-a53", "none")
    assert device.python is None
    path = tmp_path / "model.tflite"
    path.write_bytes(residual())
    with connect(device) as transport:
        runner = choose_runner(transport, ARM_NEON_LITERT)
        assert runner.name == "native"
        choose = standing_for(ARM_NEON_LITERT, device)
        report = verify(path, runner, transport, choose, seeds=(1,))
    assert report.result.runtime == "libLiteRt"
    assert report.profile == "litert-xnnpack-arm@cortex-a53"
    assert {(row.op, row.promise, row.differing) for row in report.rows} == {
        (op, "exact", 0) for op in RESIDUAL_TENSORS
    }
    assert report.end_to_end.verdict == "exact"
