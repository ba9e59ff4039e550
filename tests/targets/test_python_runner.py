"""The Python runner as a program: job.json in, outputs and result.json out."""

import ast
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from harness.protocol import MAX_TIMED_RUNS, Kernels
from targets.runner import PYTHON
from targets.runner import edgefarm_runner as runner
from tests.oracle.models import Model, conv, fully_connected
from tests.targets.jobs import failure, interpreter_says, make_job, outputs, run

PROGRAM = PYTHON.files[0]
ARGV = (sys.executable, "-I", str(PROGRAM))


@pytest.fixture(scope="module")
def model() -> Model:
    return conv(7)


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_outputs_are_those_of_the_kernels_asked_for(
    tmp_path: Path, model: Model, kernels: Kernels
) -> None:
    folder = make_job(tmp_path / "job", model, kernels=kernels)
    result = run(ARGV, folder)
    assert result.outputs == ("out0.npy",)
    assert (result.kernels, result.runtime) == (kernels, "ai_edge_litert")
    assert result.runtime_version == "2.3.0"
    assert result.delegated == (1 if kernels == "xnnpack" else 0)
    np.testing.assert_array_equal(outputs(folder, result), interpreter_says(model, 3, kernels))


def test_timing_gives_raw_samples_and_the_machine(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model, outputs=False, warmup_runs=3, timed_runs=5)
    result = run(ARGV, folder)
    assert (len(result.warmup_ns), len(result.latency_ns)) == (3, 5)
    assert all(sample > 0 for sample in (*result.warmup_ns, *result.latency_ns, result.load_ns))
    assert not result.outputs
    assert [path.name for path in (folder / "out").iterdir()] == ["result.json"]
    assert result.machine
    assert result.cpu
    assert result.cpu_features
    assert result.peak_rss_bytes is not None
    assert result.peak_rss_bytes > 10 << 20
    assert result.after.load_average is not None


class Forgetful:
    """A runtime that overwrites its inputs, as ExecuTorch does."""

    shapes = ((2, 3),)

    def __init__(self) -> None:
        self.held: np.ndarray | None = None
        self.ran_on: list[np.ndarray] = []

    def set_inputs(self, arrays: list[np.ndarray]) -> None:
        (self.held,) = arrays

    def invoke(self) -> None:
        assert self.held is not None
        self.ran_on.append(self.held.copy())
        self.held[:] = -1


def test_every_timed_invocation_has_its_inputs_and_setting_them_takes_no_time() -> None:
    runtime, given = Forgetful(), np.arange(12).reshape(4, 3)
    job = {"warmup_runs": 2, "timed_runs": 3, "min_time_s": 0}
    result = runner.measure(runtime, [given], job)  # type: ignore[arg-type]
    assert (len(result["warmup_ns"]), len(result["latency_ns"])) == (2, 3)
    assert len(runtime.ran_on) == 5
    assert all((x == given[:2]).all() for x in runtime.ran_on)


def test_timed_runs_go_on_for_the_least_time(tmp_path: Path, model: Model) -> None:
    result = run(ARGV, make_job(tmp_path / "job", model, timed_runs=2, min_time_s=0.05))
    assert sum(result.latency_ns) >= 50_000_000 or len(result.latency_ns) == MAX_TIMED_RUNS


def test_batches_are_taken_whole(tmp_path: Path) -> None:
    model = fully_connected(3, batch=4)
    assert model.inputs[0].shape[0] == 4
    folder = make_job(tmp_path / "job", model, samples=2)
    got = outputs(folder, run(ARGV, folder))
    np.testing.assert_array_equal(got, interpreter_says(model, 2, "xnnpack"))


def test_another_artifact_is_refused(tmp_path: Path, model: Model) -> None:
    kind, message = failure(ARGV, make_job(tmp_path / "job", model, sha256="0" * 64))
    assert kind == "artifact"
    assert "the job says 000" in message


def test_a_missing_artifact_is_named(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model)
    (folder / "model.tflite").unlink()
    kind, message = failure(ARGV, folder)
    assert (kind, "model.tflite" in message) == ("artifact", True)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_a_broken_model_is_the_models_failure(tmp_path: Path, model: Model, data: bytes) -> None:
    broken = Model("broken", data, model.inputs)
    assert failure(ARGV, make_job(tmp_path / "job", broken))[0] == "model"


def test_inputs_that_do_not_fit_are_named(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model)
    np.save(folder / "in0.npy", np.zeros((3, 5), np.int8))
    kind, message = failure(ARGV, folder)
    assert kind == "model"
    assert "input 0" in message
    assert "(3, 5)" in message


def test_inputs_of_another_dtype_are_refused(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model)
    np.save(folder / "in0.npy", np.load(folder / "in0.npy").astype(np.float32))
    assert failure(ARGV, folder)[0] == "model"


def test_a_broken_job_is_internal(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model)
    (folder / "job.json").write_text("{}")
    assert failure(ARGV, folder)[0] == "internal"


def test_a_full_disk_is_named_and_the_result_still_fits(tmp_path: Path, model: Model) -> None:
    folder = make_job(tmp_path / "job", model)
    (folder / "out/out0.npy").symlink_to("/dev/full")
    kind, message = failure(ARGV, folder)
    assert kind == "disk_full"
    assert "No space left" in message


def test_a_python_without_the_runtime_says_so(tmp_path: Path, model: Model) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    for path in Path(np.__file__).parents[1].glob("numpy*"):
        (packages / path.name).symlink_to(path)
    argv = (str(tmp_path / "venv/bin/python"), "-I", str(PROGRAM))
    kind, message = failure(argv, make_job(tmp_path / "job", model))
    assert kind == "runtime_missing"
    assert "ai_edge_litert" in message
    assert "tflite_runtime" in message


def test_old_boards_can_parse_it() -> None:
    source = PROGRAM.read_text()
    ast.parse(source, feature_version=(3, 7))
    assert runner.MAX_TIMED_RUNS == MAX_TIMED_RUNS
