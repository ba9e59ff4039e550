"""Every value inside `.pte` programs, on this host and on a board, against the emulator.

``EDGEFARM_TEST_SEEDS=5 pytest tests/device/test_verify_programs.py -s`` prints the table for the
zoo's networks; the board, a Cortex-A76, gets its runtime first: 165 MB. By default there are two
small programs on this host.
"""

import platform
import sys
from pathlib import Path

import pytest

from farm.provision import EXECUTORCH, provision
from farm.transports import connect
from harness.device import Device
from harness.host.cache import default_cache
from harness.verify.verification import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_EXECUTORCH
from targets.host import HOST_EXECUTORCH
from tests.device.verifying import FULL, SEEDS, quantized, show
from tests.harness.cli.command import Edgefarm, command
from tests.oracle.models import Draw
from tests.oracle.payload_families import FAMILIES, draw_program
from tests.oracle.programs import GOLDEN

NODES = 12
NOT_EXACT_ON_ARM = {"elu": "unknown"}
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


@pytest.fixture(scope="session")
def with_executorch(cortex_a76: Device) -> Device:
    with connect(cortex_a76) as transport:
        return provision(cortex_a76, transport, EXECUTORCH, cache=default_cache()).device


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
        report = verify(path, target.runner, transport, chosen, seeds=SEEDS, timeout_s=1800)
    show(path, report)
    return report


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
@pytest.mark.parametrize("model", [*SMALL, *ZOO])
def test_on_this_host(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch.runtime")
    host = Device("host", "local", workdir=str(tmp_path / "work"), python=sys.executable)
    assert_exact(program, host, "executorch-xnnpack-x86")


if FULL:

    @pytest.mark.parametrize("model", [*SMALL, *ZOO])
    def test_on_a_board(program: Path, with_executorch: Device) -> None:
        assert_exact(program, with_executorch, "executorch-xnnpack-arm@cortex-a76")

    @pytest.mark.parametrize("family", FAMILIES)
    def test_single_nodes_on_a_board(family: str, with_executorch: Device, tmp_path: Path) -> None:
        path = tmp_path / f"{family}.pte"
        path.write_bytes(draw_program(family, NODES, Draw(7, "ties")))
        report = check(path, with_executorch)
        assert not report.broken
        assert {row.promise for row in report.rows} == {NOT_EXACT_ON_ARM.get(family, "exact")}
