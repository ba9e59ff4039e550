"""Profile `tflite-runtime-2.14-arm` on a virtual board that carries it."""

from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device
from harness.errors import ModelError
from harness.verify.verification import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_LITERT
from tests.conftest import StartedBoard
from tests.evidence.cases import cases_of
from tests.evidence.measure import measure_all
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.kernel_choice import BEYOND_REGISTERS, CHOICES
from tests.oracle.networks import residual

NAME = "tflite-runtime-2.14-arm"
PROMISED = (Path(__file__).parents[1] / f"golden/promised/{NAME}.txt").read_text().split()
"""Families of which it runs models, all of them exactly as emulated."""

REFUSED_IN_PART = {"one-column of narrow weights", "mul", BEYOND_REGISTERS}
"""Narrow weights, and products of more than 4 dimensions, came later."""

pytestmark = pytest.mark.slow


@pytest.fixture
def old_board(started_board: StartedBoard) -> Device:
    return started_board("cortex-a76", "tflite-runtime")


def test_single_ops_bit_for_bit(old_board: Device) -> None:
    shapes = tuple(f"shapes: {choice}" for choice in CHOICES if choice not in REFUSED_IN_PART)
    with connect(old_board) as transport:
        found = measure_all(
            {NAME: "builtin"}, cases_of((*PROMISED, *shapes), models=1, draws=1), transport
        )
    total = found[NAME].total
    assert (total.differing, total.refused, total.unknown, total.loose) == (0, [], 0, 0)
    assert {*PROMISED, *shapes} == {*found[NAME].families}


def verified(path: Path, device: Device) -> VerifyReport:
    runner, choose = ARM_NEON_LITERT.runner, standing_for(ARM_NEON_LITERT, device)
    with connect(device) as transport:
        return verify(path, runner, transport, choose, seeds=(1,))


def test_it_is_known_by_what_the_runner_reports(old_board: Device, tmp_path: Path) -> None:
    path = tmp_path / "residual.tflite"
    path.write_bytes(residual())
    report = verified(path, old_board)
    assert (report.result.runtime, report.result.delegated) == ("tflite_runtime", 0)
    assert report.profile == NAME
    assert report.exit_code == 0
    assert report.end_to_end.verdict == "exact"


def test_a_newer_op_version_is_a_model_error(old_board: Device, tmp_path: Path) -> None:
    builder = Builder()
    x = builder.tensor((1, 8), "int8", per_tensor(0.5, 3))
    y = builder.tensor((1, 8), "int8", per_tensor(0.5, 3))
    builder.op("RELU", [x], [y], options("Reshape"), version=9)
    path = tmp_path / "newer.tflite"
    path.write_bytes(builder.finish([x], [y]))
    with pytest.raises(ModelError, match=r"RELU.* version '9'"):
        verified(path, old_board)
