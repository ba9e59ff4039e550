"""Every tensor of real models, on this host and on both boards, against the emulator.

``EDGEFARM_TEST_SEEDS=5 pytest tests/device/test_verify_models.py -s`` prints the table for five
random inputs beside the extremes, for the zoo's networks in all int8 recipes too, and for the
largest models on the boards, whose cores are emulated. By default there is one random input, and a
part of that.
"""

import os
import platform
import sys
from pathlib import Path

import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.profiles import get_profile
from harness.protocol import Kernels
from harness.verify.tflm import verify_tflm
from harness.verify.verification import VerifyReport, standing_for, verify
from targets.arm_neon import ARM_NEON_LITERT
from targets.host import HOST_LITERT
from tests.conftest import StartedBoard
from tests.device.verifying import FULL, SEEDS, quantized, show
from tests.harness.cli.command import Edgefarm, command
from tests.harness.emulator.test_buffers_behind import moved_inside

MODELS = (
    "ad01_int8",
    "vww_96_int8",
    "mobilenet_v1_0.25_128_uint8",
    "mobilenet_v2_1.0_224_int8",
)
RECIPES = (
    "static_wi8_ai8",
    "static_wi8_ai8_per_tensor",
    "static_wi8_ai16",
    "dynamic_wi8_afp32",
    "weight_only_wi8_afp32",
)
FOLDER = os.environ.get("EDGEFARM_TEST_MODELS")
ZOO = [
    f"{network}/{recipe}"
    for network, recipes in (
        ("digits-cnn", RECIPES),
        ("efficientnet-lite0", RECIPES),
        ("minilm", ("dynamic_wi8_afp32", "static_wi8_ai8")),
    )
    for recipe in recipes
    if FULL or (network, recipe) == ("digits-cnn", RECIPES[0])
]
INTEGER = [
    model
    for model in (*MODELS, *ZOO)
    if not model.endswith("afp32") and not model.startswith("minilm")
]
KERNELS: tuple[Kernels, ...] = ("reference", "builtin", "xnnpack")
CORES = ("cortex-a53", "cortex-a76")
ON_BOARDS_QUICKLY = (
    ("cortex-a53", "ad01_int8", "xnnpack"),
    ("cortex-a53", "mobilenet_v1_0.25_128_uint8", "xnnpack"),
    ("cortex-a76", "mobilenet_v1_0.25_128_uint8", "xnnpack"),
    ("cortex-a76", "vww_96_int8", "xnnpack"),
    ("cortex-a76", "vww_96_int8", "builtin"),
)
ON_BOARDS = [
    (core, model, kernels)
    for core in CORES
    for model in (*MODELS, *ZOO)
    for kernels in KERNELS[1:]
    if FULL or (core, model, kernels) in ON_BOARDS_QUICKLY
]
PROFILES = {
    "reference": "litert-ref",
    "builtin": "litert-builtin-x86",
    "xnnpack": "litert-xnnpack-x86",
}

edgefarm = pytest.fixture(command)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture
def path_of(edgefarm: Edgefarm, zoo_folder: Path, model: str) -> Path:
    """The file of a shared model, or of a network of the zoo in a recipe."""
    if "/" in model:
        return quantized(edgefarm, zoo_folder, model, HOST_LITERT.name) / "model.tflite"
    if FOLDER is None:
        pytest.skip("EDGEFARM_TEST_MODELS names no folder of models")
    return Path(FOLDER) / f"{model}.tflite"


@pytest.fixture
def host(tmp_path: Path) -> Device:
    return Device("host", "local", workdir=str(tmp_path / "work"), python=sys.executable)


def check(path: Path, device: Device, kernels: Kernels) -> VerifyReport:
    target = HOST_LITERT if device.transport == "local" else ARM_NEON_LITERT
    with connect(device) as transport:
        report = verify(
            path,
            target.runner,
            transport,
            standing_for(target, device),
            kernels=kernels,
            seeds=SEEDS,
            timeout_s=1800,
        )
    show(path, report)
    return report


def assert_exact(path: Path, report: VerifyReport, profile: str) -> None:
    """Nothing that is declared exact differs; of an all-integer file everything is."""
    assert report.profile == profile
    assert not report.broken
    in_float = any(t.dtype == "float32" and t.data is None for t in read_tflite(path).main.tensors)
    promises = {row.promise for row in report.rows}
    assert promises <= ({"exact", "float"} if in_float else {"exact"})
    assert report.end_to_end.verdict == ("float" if "float" in promises else "exact")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("model", [*MODELS, *ZOO])
def test_on_this_host(model: str, kernels: Kernels, path_of: Path, host: Device) -> None:
    report = check(path_of, host, kernels)
    delegated = bool(report.result.delegated)
    assert delegated == (kernels == "xnnpack" and "ai16" not in model)
    ran = "builtin" if kernels == "xnnpack" and not delegated else kernels
    assert_exact(path_of, report, PROFILES[ran])


@pytest.mark.parametrize(("core", "model", "kernels"), ON_BOARDS)
def test_on_a_board(
    core: str, model: str, kernels: Kernels, path_of: Path, request: pytest.FixtureRequest
) -> None:
    device: Device = request.getfixturevalue(core.replace("-", "_"))
    report = check(path_of, device, kernels)
    delegated = bool(report.result.delegated)
    assert delegated == (kernels == "xnnpack" and "ai16" not in model)
    family = "xnnpack" if delegated else "builtin"
    assert_exact(path_of, report, get_profile(f"litert-{family}-arm@{core}").name)


@pytest.mark.parametrize("model", MODELS[:1])
def test_reference_kernels_on_a_board(path_of: Path, cortex_a76: Device) -> None:
    assert_exact(path_of, check(path_of, cortex_a76, "reference"), "litert-ref-arm@cortex-a76")


@pytest.mark.parametrize("model", INTEGER if FULL else MODELS[:1])
def test_tflite_runtime_on_a_board(path_of: Path, started_board: StartedBoard) -> None:
    report = check(path_of, started_board("cortex-a76", "tflite-runtime"), "builtin")
    assert_exact(path_of, report, "tflite-runtime-2.14-arm")


@pytest.mark.parametrize(
    "model", [m for m in INTEGER if "uint8" not in m and (FULL or m != MODELS[-1])]
)
def test_micro(path_of: Path, tmp_path: Path) -> None:
    """It does not look for constants behind the flatbuffer, where the quantizer puts large ones."""
    path = tmp_path / f"{path_of.parent.name}-{path_of.name}"
    path.write_bytes(moved_inside(path_of.read_bytes()))
    report = verify_tflm(path, seeds=SEEDS)
    show(path, report)
    assert_exact(path, report, "tflm")
