"""The runners on virtual boards: every kind of board, the same bits where they must be the same."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.transports import connect
from harness.artifact import Artifact, Manifest, TensorSpec, sha256_file
from harness.device import Device
from harness.emulator.formats.model_file import read_model
from harness.errors import RuntimeMissing, UsageError
from harness.on_device.deploy import DeviceRun, MeasurePlan, choose_runner, run_job
from harness.protocol import Kernels
from harness.target import RunnerName
from targets import get_target
from targets.runner import PYTHON
from tests.artifacts import write_artifact
from tests.oracle.models import conv
from tests.oracle.programs import GOLDEN

pytestmark = pytest.mark.slow

SHORT = MeasurePlan(restarts=1, warmup_runs=1, timed_runs=2, min_time_s=0, profiled_runs=1)
TARGET = get_target("arm-neon-litert")
StartedBoard = Callable[[str, str], Device]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """int8 MobileNetV2 where $EDGEFARM_TEST_MODELS has it, else one int8 convolution."""
    real = Path(os.environ.get("EDGEFARM_TEST_MODELS", "/-"), "mobilenet_v2_1.0_224_int8.tflite")
    data = real.read_bytes() if real.exists() else conv(7).data
    return write_artifact(tmp_path_factory.mktemp("artifact"), data)


def inputs(artifact: Artifact) -> tuple[Any, ...]:
    (spec,) = artifact.manifest.inputs
    return (np.random.default_rng(0).integers(-128, 128, spec.shape).astype(spec.dtype),)


def run(
    device: Device, artifact: Artifact, kernels: Kernels, wanted: RunnerName | None = None
) -> DeviceRun:
    with connect(device) as transport:
        try:
            runner = choose_runner(transport, TARGET, wanted)
        except UsageError as error:
            pytest.skip(str(error))
        done = run_job(transport, runner, artifact, inputs(artifact), SHORT, kernels=kernels)
        left = transport.run(("ls", f"{device.workdir}/jobs"), timeout_s=60)
    assert (left.exit_status, left.stdout) == (0, b"")
    assert done.notes == ()
    assert len(done.results[0].latency_ns) == 2
    return done


def on_host(artifact: Artifact, kernels: Kernels, folder: Path) -> DeviceRun:
    host = Device("host", "local", workdir=str(folder / "work"), python=sys.executable)
    with connect(host) as transport:
        return run_job(transport, PYTHON, artifact, inputs(artifact), SHORT, kernels=kernels)


def test_python_and_native_runner_give_the_same_bits(
    artifact: Artifact, cortex_a76: Device, started_board: StartedBoard
) -> None:
    python = run(cortex_a76, artifact, "xnnpack")
    (result,) = python.results
    assert (result.runner, result.runtime) == ("python 1", "ai_edge_litert")
    assert (result.machine, result.cpu) == ("aarch64", "0x41/0xd0b")
    assert result.delegated
    assert TARGET.profile(cortex_a76, result) == "litert-xnnpack-arm@cortex-a76"

    bare = started_board("cortex-a76", "none")
    native = run(bare, artifact, "xnnpack")
    (small,) = native.results
    assert (small.runner, small.runtime) == ("native 1", "libLiteRt")
    assert (small.cpu, small.cpu_features) == (result.cpu, result.cpu_features)
    assert small.delegated == result.delegated
    assert small.op_times
    assert TARGET.profile(bare, small) == "litert-xnnpack-arm@cortex-a76"

    np.testing.assert_array_equal(native.outputs, python.outputs)


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
def test_executorch_comes_along_to_a_board(core: str, started_board: StartedBoard) -> None:
    """A board with Python gets the native runner too; outputs are those that were recorded with
    the Python runner on x86-64."""
    board, target = started_board(core, "ai-edge-litert"), get_target("arm-neon-executorch")
    recorded = np.load(GOLDEN.with_suffix(".npz"))
    outputs = (recorded["out0"], recorded["out1"])
    with connect(board) as transport:
        try:
            runner = choose_runner(transport, target)
        except UsageError as error:
            pytest.skip(str(error))
        artifact = program_of(GOLDEN.with_suffix(".pte"))
        done = run_job(transport, runner, artifact, (recorded["in"],), SHORT)
    (result,) = done.results
    assert (result.runner, result.runtime) == ("native 1", "executorch")
    assert result.runtime_version == "1.5.1"
    assert target.profile(board, result) == f"executorch-xnnpack-arm@{core}"
    for got, wanted in zip(done.outputs, outputs, strict=True):
        np.testing.assert_array_equal(got, wanted)


def program_of(path: Path) -> Artifact:
    """An artifact of a program."""
    graph = read_model(path).main
    specs = [
        tuple(TensorSpec(t.name, t.shape, t.dtype) for t in (graph.tensors[i] for i in indices))
        for indices in (graph.inputs, graph.outputs)
    ]
    size, digest = path.stat().st_size, sha256_file(path)
    where = ("executorch", "host-executorch", "static_wi8_ai8", "generated")
    return Artifact(path, Manifest(digest, size, *where, *specs))


def test_tflite_runtime_is_told_apart(
    artifact: Artifact, started_board: StartedBoard, tmp_path: Path
) -> None:
    board = started_board("cortex-a76", "tflite-runtime")
    done = run(board, artifact, "reference")
    (result,) = done.results
    assert (result.runtime, result.runtime_version) == ("tflite_runtime", "2.14.0")
    assert result.delegated == 0
    assert TARGET.profile(board, result) is None
    np.testing.assert_array_equal(done.outputs, on_host(artifact, "reference", tmp_path).outputs)


def test_a_board_without_the_runtime_says_so(
    artifact: Artifact, started_board: StartedBoard
) -> None:
    bare = started_board("cortex-a76", "none")
    with connect(bare) as transport, pytest.raises(RuntimeMissing, match="entry names none"):
        run_job(transport, PYTHON, artifact, inputs(artifact), SHORT)
