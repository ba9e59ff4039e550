"""ExecuTorch through both runners: a .pte exported here, run by the runner as a program."""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifact import sha256_file
from harness.device import Device
from harness.errors import UsageError
from harness.protocol import Job
from targets.runner import PYTHON
from targets.runner.build_executorch import native_executorch
from tests.targets.jobs import failure, outputs, run

pytestmark = pytest.mark.slow

SAMPLES = 3
HERE = Device("here", "local")


@pytest.fixture(scope="module", params=["python", "native"])
def argv(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "python":
        return (sys.executable, "-I", str(PYTHON.files[0]))
    return native()


def native() -> tuple[str, ...]:
    try:
        runner = native_executorch(platform.machine())
    except UsageError as error:
        pytest.skip(str(error))
    return runner.argv(HERE, tuple(str(path) for path in runner.files), "")[:-1]


@pytest.fixture(scope="module")
def program() -> bytes:
    """Two inputs x, y of different shapes; outputs relu(conv(x)) and y + y."""
    torch = pytest.importorskip("torch")
    exir = pytest.importorskip("executorch.exir")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
            torch.nn.init.constant_(self.conv.weight, 0.5)

        def forward(self, x: Any, y: Any) -> tuple[Any, Any]:
            return torch.relu(self.conv(x)), y + y

    exported = torch.export.export(Net().eval(), (torch.zeros(1, 3, 5, 5), torch.zeros(1, 2)))
    lowered = exir.to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


@pytest.fixture(scope="module")
def lookup() -> bytes:
    """Rows of a table by index, several times over: later tensors lie where the indices were."""
    torch = pytest.importorskip("torch")
    exir = pytest.importorskip("executorch.exir")

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(8, 2)

        def forward(self, tokens: Any) -> Any:
            return (self.table(tokens) - 100.0).mean(1).relu()

    exported = torch.export.export(Net().eval(), (torch.zeros(1, 5, dtype=torch.int64),))
    return bytes(exir.to_edge(exported).to_executorch().buffer)


def make_job(folder: Path, program: bytes, *arrays: Any) -> Path:
    (folder / "out").mkdir(parents=True)
    (folder / "model.pte").write_bytes(program)
    for number, array in enumerate(arrays):
        np.save(folder / f"in{number}.npy", array)
    job = Job(
        runtime="executorch",
        artifact="model.pte",
        sha256=sha256_file(folder / "model.pte"),
        inputs=tuple(f"in{number}.npy" for number in range(len(arrays))),
        warmup_runs=1,
        timed_runs=2,
    )
    (folder / "job.json").write_text(job.model_dump_json())
    return folder


X = np.ones((SAMPLES, 3, 5, 5), np.float32) * np.arange(SAMPLES, dtype=np.float32).reshape(
    -1, 1, 1, 1
)
Y = np.arange(2 * SAMPLES, dtype=np.float32).reshape(SAMPLES, 2)


def test_every_sample_runs(argv: tuple[str, ...], program: bytes, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", program, X, Y)
    result = run(argv, folder)
    first, second = outputs(folder, result)
    # 27 weights of one half on a constant image
    np.testing.assert_array_equal(
        first, np.broadcast_to(X[:, :1, :1, :1] * 13.5, (SAMPLES, 4, 3, 3))
    )
    np.testing.assert_array_equal(second, Y * 2)
    assert result.runtime == "executorch"
    assert (result.kernels, result.delegated) == (None, None)
    assert (len(result.warmup_ns), len(result.latency_ns)) == (1, 2)


def test_what_does_not_fit_is_the_models_failure(
    argv: tuple[str, ...], program: bytes, tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "dtype", program, X.astype(np.float64), Y)
    assert failure(argv, folder)[0] == "model"
    folder = make_job(tmp_path / "cut", program[: len(program) // 2], X, Y)
    assert failure(argv, folder)[0] == "model"


def test_inputs_are_set_before_every_timed_invocation(
    argv: tuple[str, ...], lookup: bytes, tmp_path: Path
) -> None:
    """Their memory is used again: a second invocation alone would look up what the first left."""
    result = run(argv, make_job(tmp_path / "job", lookup, np.full((2, 5), 7, np.int64)))
    assert result.failure is None, result.failure
    assert (len(result.warmup_ns), len(result.latency_ns)) == (1, 2)


def test_native_and_python_runner_give_the_same_bits(program: bytes, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    python = (sys.executable, "-I", str(PYTHON.files[0]))
    (a, b), (c, d) = (
        outputs(folder, run(program_argv, folder))
        for program_argv, folder in (
            (python, make_job(tmp_path / "python", program, x, Y)),
            (native(), make_job(tmp_path / "native", program, x, Y)),
        )
    )
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)


def test_broken_programs_never_crash_the_native_runner(program: bytes, tmp_path: Path) -> None:
    argv = native()
    for number, data in enumerate((b"", b"ET12", b"\xff" * 200, program[:60], program[::-1])):
        folder = make_job(tmp_path / str(number), data, X, Y)
        assert failure(argv, folder)[0] == "model"


def test_the_native_runner_names_what_it_lacks(program: bytes, tmp_path: Path) -> None:
    runner, runtime, version, *_ = native()
    folder = make_job(tmp_path / "job", program, X, Y)
    kind, message = failure((runner, runtime, version, str(tmp_path / "libexecutorch.so")), folder)
    assert kind == "runtime_missing"
    assert "libexecutorch.so" in message


def test_a_native_profile_tells_the_steps(program: bytes, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", program, X, Y)
    job = Job.model_validate_json((folder / "job.json").read_text())
    (folder / "job.json").write_text(job.model_copy(update={"profiled_runs": 2}).model_dump_json())
    result = run(native(), folder)
    assert {step.runs for step in result.op_times} == {2}
    assert any("Convolution" in step.op for step in result.op_times)


def test_a_machine_without_libraries_is_named() -> None:
    with pytest.raises(UsageError, match="not for riscv64"):
        native_executorch("riscv64")
