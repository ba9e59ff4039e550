"""Every value inside `.pte` programs, on this host and on a board, against the emulator.

``EDGEFARM_TEST_SEEDS=5 pytest tests/device/test_verify_programs.py -s`` prints the table for the
zoo's networks. By default there are two small programs.
"""

import platform
import sys
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device
from harness.on_device.deploy import choose_runner
from harness.verify.verification import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_EXECUTORCH
from targets.host import HOST_EXECUTORCH
from tests.device.verifying import FULL, SEEDS, quantized, show
from tests.harness.cli.command import Edgefarm, command
from tests.oracle.programs import GOLDEN

SMALL = ("network", "beside")
ZOO = [
    f"{network}/{recipe}"
    for network in ("digits-cnn", "efficientnet-lite0", "minilm")
    for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32")
    if FULL
]

edgefarm = pytest.fixture(command)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def programs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def program(edgefarm: Edgefarm, programs_folder: Path, model: str) -> Path:
    if model in SMALL:
        return GOLDEN.with_name(f"{model}.pte")
    return quantized(edgefarm, programs_folder, model, HOST_EXECUTORCH.name) / "model.pte"


def assert_exact(path: Path, device: Device, profile: str) -> None:
    """Nothing that is declared exact differs, and nothing is unknown; of a program whose
    convolutions are integers too, each of them is exact."""
    report = check(path, device)
    assert report.profile == profile
    assert not report.broken
    assert {row.promise for row in report.rows} <= {"exact", "float"}
    convolutions = {row.promise for row in report.rows if row.op.endswith("CONV_2D")}
    assert convolutions <= ({"exact", "float"} if "dynamic" in path.parent.name else {"exact"})
    assert report.end_to_end.verdict in {"exact", "float"}


def check(path: Path, device: Device) -> VerifyReport:
    target = HOST_EXECUTORCH if device.transport == "local" else ARM_NEON_EXECUTORCH
    chosen = standing_for(target, device)
    with connect(device) as transport:
        runner = choose_runner(transport, target)
        report = verify(path, runner, transport, chosen, seeds=SEEDS, timeout_s=1800)
    show(path, report)
    return report


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
@pytest.mark.parametrize("model", [*SMALL, *ZOO])
def test_on_this_host(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch.runtime")
    host = Device("host", "local", workdir=str(tmp_path / "work"), python=sys.executable)
    assert_exact(program, host, "executorch-xnnpack-x86")


@pytest.mark.parametrize("model", [*SMALL, *ZOO])
def test_on_a_board(program: Path, cortex_a76: Device) -> None:
    assert_exact(program, cortex_a76, "executorch-xnnpack-arm@cortex-a76")
