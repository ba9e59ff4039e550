"""Profile `tflite-runtime-2.14-arm` on a virtual board that carries it."""

from pathlib import Path

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from harness.errors import ModelError
from harness.verify import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_LITERT
from tests.conftest import StartedBoard
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.catalogue import draw
from tests.oracle.kernel_choice import CHOICES, assert_exact, inputs_of
from tests.oracle.networks import residual
from tests.oracle.runtimes import Request, run_on

NAME = "tflite-runtime-2.14-arm"
PROMISED = (Path(__file__).parents[1] / f"golden/promised/{NAME}.txt").read_text().split()
"""Families of which it runs models, all of them exactly as emulated."""

pytestmark = pytest.mark.slow


@pytest.fixture
def old_board(started_board: StartedBoard) -> Device:
    return started_board("cortex-a76", "tflite-runtime")


def test_single_ops_bit_for_bit(old_board: Device) -> None:
    cases = [(m, x) for f in PROMISED for m in draw(f, 1) for x in (m.sample(0), m.extremes()[2])]
    with connect(old_board) as transport:
        answers = run_on(transport, [Request(m.data, x, "builtin") for m, x in cases])
    for (model, x), answer in zip(cases, answers, strict=True):
        assert answer.error == "", model.name
        graph = read_tflite(model.data).main
        emulation = emulate(graph, get_profile(NAME), x)
        for output, expected in zip(graph.outputs, emulation.outputs, strict=True):
            assert emulation.promises[output] == "exact", model.name
            assert expected is not None
            if expected.size:
                got = answer.tensors[output].reshape(expected.shape)
                np.testing.assert_array_equal(expected, got, err_msg=model.name)


def test_shapes_where_its_kernels_change(old_board: Device) -> None:
    work = [
        (model, x) for choice in CHOICES.values() for model in choice() for x in inputs_of(model)
    ]
    with connect(old_board) as transport:
        answers = run_on(transport, [Request(model.data, x, "builtin") for model, x in work])
    for (model, x), answer in zip(work, answers, strict=True):
        assert_exact(model, x, answer, NAME)


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
