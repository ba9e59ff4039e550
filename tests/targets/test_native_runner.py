"""The native runner as a program: the same protocol, and the same bits as the Python runner."""

import hashlib
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.device import Device
from harness.errors import UsageError
from harness.host.cache import Cache
from targets.runner import PYTHON
from targets.runner.build import build_program, native_runner
from tests.oracle.build import Builder, options
from tests.oracle.models import Input, Model, activation_of, conv, depthwise, fully_connected
from tests.targets.jobs import failure, make_job, outputs, run

PYTHON_ARGV = (sys.executable, "-I", str(PYTHON.files[0]))
HERE = Device("here", "local")


@pytest.fixture(scope="session")
def argv() -> tuple[str, ...]:
    try:
        runner = native_runner(platform.machine())
    except UsageError as error:
        pytest.skip(str(error))
    return runner.argv(HERE, tuple(str(path) for path in runner.files), "")[:-1]


def reordered(data: bytes) -> bytes:
    """The same model with a signature that lists inputs and outputs backwards."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    (signature,) = model.signatureDefs
    signature.inputs.reverse()
    signature.outputs.reverse()
    packer = flatbuffers.Builder(1024)
    packer.Finish(model.Pack(packer), b"TFL3")
    return bytes(packer.Output())


def differences(*, signature: bool) -> Model:
    """Two inputs a, b of different shapes; outputs a - b and b - a."""
    builder = Builder()
    a, b = (builder.tensor(shape, "float32") for shape in ((1, 3), (1, 1)))
    out = [builder.tensor((1, 3), "float32") for _ in range(2)]
    for inputs, output in (((a, b), out[0]), ((b, a), out[1])):
        builder.op(
            "SUB", inputs, [output], options("Sub", fusedActivationFunction=activation_of("NONE"))
        )
    data = builder.finish([a, b], out, signature=signature)
    inputs = (Input((1, 3), "float32"), Input((1, 1), "float32"))
    return Model("differences", reordered(data) if signature else data, inputs)


MODELS = {
    "conv": conv(1),
    "conv uint8": conv(2, dtype="uint8"),
    "depthwise": depthwise(3),
    "int16": fully_connected(4, dtype="int16"),
    "batch of 4": fully_connected(5, batch=4),
    "two inputs": differences(signature=False),
    "signature in another order": differences(signature=True),
}


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_as_the_python_runner(
    argv: tuple[str, ...], tmp_path: Path, name: str, kernels: str
) -> None:
    folders = [make_job(tmp_path / who, MODELS[name], kernels=kernels) for who in "np"]
    native, python = (
        outputs(folder, run(program, folder))
        for folder, program in zip(folders, (argv, PYTHON_ARGV), strict=True)
    )
    assert len(native) == len(python)
    for got, wanted in zip(native, python, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_both_runners_tell_the_same_of_the_machine(argv: tuple[str, ...], tmp_path: Path) -> None:
    told = []
    for program in (argv, PYTHON_ARGV):
        folder = make_job(tmp_path / program[0][-3:], conv(1), warmup_runs=2, timed_runs=5)
        result = run(program, folder)
        assert (len(result.warmup_ns), len(result.latency_ns)) == (2, 5)
        assert result.load_ns > 0
        assert result.peak_rss_bytes is not None
        told.append(
            (
                result.machine,
                result.cpu,
                result.cpu_features,
                result.before.governor,
                set(result.before.temperatures_millidegree),
                len(result.before.frequencies_khz),
                result.kernels,
                result.runtime_version,
            )
        )
    assert told[0] == told[1]


def test_a_profile_names_steps_and_tells_what_was_delegated(
    argv: tuple[str, ...], tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "x", conv(1), profiled_runs=3)
    delegated = run(argv, folder)
    assert delegated.delegated == 1
    (step,) = delegated.op_times
    assert (step.node, step.runs) == (None, 3)
    assert "Convolution" in step.op
    folder = make_job(tmp_path / "b", conv(1), kernels="builtin", profiled_runs=2)
    builtin = run(argv, folder)
    assert builtin.delegated == 0
    (step,) = builtin.op_times
    assert (step.node, step.op, step.runs) == (0, "CONV_2D", 2)


def test_without_a_profile_the_delegation_is_not_known(
    argv: tuple[str, ...], tmp_path: Path
) -> None:
    result = run(argv, make_job(tmp_path / "job", conv(1)))
    assert (result.delegated, result.op_times) == (None, ())


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1 << 20, (1 << 20) + 57])
def test_the_artifact_is_hashed(argv: tuple[str, ...], tmp_path: Path, size: int) -> None:
    folder = make_job(tmp_path / "job", conv(1), sha256="0" * 64)
    content = np.random.default_rng(size).bytes(size)
    (folder / "model.tflite").write_bytes(content)
    kind, message = failure(argv, folder)
    assert kind == "artifact"
    assert hashlib.sha256(content).hexdigest() in message


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_a_broken_model_is_the_models_failure(
    argv: tuple[str, ...], tmp_path: Path, data: bytes
) -> None:
    assert failure(argv, make_job(tmp_path / "job", Model("b", data, conv(1).inputs)))[0] == "model"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 5), np.int8),
        np.zeros((3, 7, 6, 5), np.float32),
        np.zeros((3, 7, 6), np.int8),
        np.asfortranarray(np.zeros((3, 7, 6, 5), np.int8)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    argv: tuple[str, ...], tmp_path: Path, array: Any
) -> None:
    folder = make_job(tmp_path / "job", conv(1))
    np.save(folder / "in0.npy", array)
    kind, message = failure(argv, folder)
    assert kind == "model"
    assert "input 0" in message or "in0.npy" in message


def test_a_short_input_file_is_refused(argv: tuple[str, ...], tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", conv(1))
    content = (folder / "in0.npy").read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        (folder / "in0.npy").write_bytes(content[:size])
        assert failure(argv, folder)[0] in ("model", "internal")


def test_what_it_cannot_run_it_refuses(argv: tuple[str, ...], tmp_path: Path) -> None:
    jobs = {"xnnpack and builtin": {"kernels": "reference"}, "litert": {"runtime": "executorch"}}
    for number, (words, fields) in enumerate(jobs.items()):
        kind, message = failure(argv, make_job(tmp_path / str(number), conv(1), **fields))
        assert kind == "runtime_missing"
        assert words in message


def test_a_library_that_cannot_be_opened_is_named(argv: tuple[str, ...], tmp_path: Path) -> None:
    other = (*argv[:-1], str(tmp_path / "libLiteRt.so"))
    kind, message = failure(other, make_job(tmp_path / "job", conv(1)))
    assert kind == "runtime_missing"
    assert "libLiteRt.so" in message


def test_a_full_disk_is_named(argv: tuple[str, ...], tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", conv(1))
    (folder / "out/out0.npy").symlink_to("/dev/full")
    kind, message = failure(argv, folder)
    assert kind == "disk_full"
    assert "No space left" in message


def test_a_result_that_cannot_be_written_is_an_exit_status(
    argv: tuple[str, ...], tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "job", conv(1))
    (folder / "out/result.json.part").symlink_to("/dev/full")
    done = subprocess.run([*argv, str(folder)], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"No space left" in done.stderr


def test_a_machine_it_is_not_built_for_is_named() -> None:
    with pytest.raises(UsageError, match="not for riscv64"):
        native_runner("riscv64")


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    compilers = {"aarch64": "g++-aarch64-linux-gnu", platform.machine(): "g++"}
    for machine, compiler in compilers.items():
        with pytest.raises(UsageError) as raised:
            build_program(machine, Cache(tmp_path))
        assert f"apt-get install cmake make {compiler} nlohmann-json3-dev" in str(raised.value)


def test_a_failed_build_tells_what_the_compiler_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("cmake", "make", "g++"):
        (tmp_path / tool).write_text("#!/bin/sh\necho no licence today >&2; exit 3\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"(?s)status 3.*no licence today"):
        build_program(platform.machine(), Cache(tmp_path / "cache"))
    assert not list(tmp_path.glob("cache/native-runner/*"))
