"""Every tensor of real models, on this host and on both boards, against the emulator.

``EDGEFARM_TEST_SEEDS=5 pytest tests/device/test_verify_models.py -s`` prints the table for five
random inputs beside the extremes; by default there is one, and the largest model does not run on
the boards, whose cores are emulated.
"""

import os
import platform
import sys
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device
from harness.protocol import Kernels
from harness.verify import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_LITERT
from targets.host import HOST_LITERT

MODELS = (
    "ad01_int8",
    "vww_96_int8",
    "mobilenet_v1_0.25_128_uint8",
    "mobilenet_v2_1.0_224_int8",
)
FOLDER = os.environ.get("EDGEFARM_TEST_MODELS")
SEEDS = range(int(os.environ.get("EDGEFARM_TEST_SEEDS", "1")))
ON_BOARDS = MODELS if len(SEEDS) > 1 else MODELS[:-1]

pytestmark = [
    pytest.mark.skipif(FOLDER is None, reason="EDGEFARM_TEST_MODELS names no folder of models"),
    pytest.mark.slow,
]


@pytest.fixture
def host(tmp_path: Path) -> Device:
    return Device("host", "local", workdir=str(tmp_path / "work"), python=sys.executable)


def check(model: str, device: Device, kernels: Kernels) -> VerifyReport:
    target = HOST_LITERT if device.transport == "local" else ARM_NEON_LITERT
    with connect(device) as transport:
        report = verify(
            Path(str(FOLDER)) / f"{model}.tflite",
            target.runner,
            transport,
            standing_for(target, device),
            kernels=kernels,
            seeds=SEEDS,
        )
    elements = sum(row.elements for row in report.rows)
    differing = sum(row.differing for row in report.rows)
    nodes = sum(row.nodes for row in report.rows)
    print(
        f"\n{model:28} {device.name.partition('-ai-')[0]:16} {report.profile:31}"
        f" {report.invocations:2} inputs {nodes:3} nodes {elements:9} elements"
        f" {differing} differing, end to end {report.end_to_end.verdict}"
    )
    return report


def assert_exact(report: VerifyReport, profile: str) -> None:
    assert report.profile == profile
    assert {row.promise for row in report.rows} == {"exact"}
    assert not report.broken
    assert report.end_to_end.verdict == "exact"


@pytest.mark.parametrize("model", MODELS)
def test_reference_kernels_on_this_host(model: str, host: Device) -> None:
    assert_exact(check(model, host, "reference"), "litert-ref")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
@pytest.mark.parametrize("model", MODELS)
def test_xnnpack_on_this_host(model: str, host: Device) -> None:
    report = check(model, host, "xnnpack")
    assert report.result.delegated
    assert_exact(report, "litert-xnnpack-x86")


@pytest.mark.parametrize("core", ["cortex_a53", "cortex_a76"])
@pytest.mark.parametrize("model", ON_BOARDS)
def test_xnnpack_on_a_board(model: str, core: str, request: pytest.FixtureRequest) -> None:
    device: Device = request.getfixturevalue(core)
    report = check(model, device, "xnnpack")
    assert report.result.delegated
    assert_exact(report, f"litert-xnnpack-arm@{device.core}")


@pytest.mark.parametrize("model", MODELS[:1])
def test_reference_kernels_on_a_board(model: str, cortex_a76: Device) -> None:
    assert_exact(check(model, cortex_a76, "reference"), "litert-ref-arm@cortex-a76")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
@pytest.mark.parametrize("model", MODELS)
def test_built_in_kernels_on_this_host(model: str, host: Device) -> None:
    assert_exact(check(model, host, "builtin"), "litert-builtin-x86")
