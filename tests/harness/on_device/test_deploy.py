"""The host side of the runner protocol, against the real runner on this host."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from farm.transports import connect
from harness.artifact import Artifact, sha256_file
from harness.device import Device
from harness.errors import (
    ArtifactCorrupt,
    DeviceError,
    DeviceFull,
    DeviceTimeout,
    HarnessError,
    ModelError,
    RefusedOnDevice,
    RunnerKilled,
    RuntimeMissing,
    TransportError,
    UsageError,
)
from harness.on_device.deploy import NONE, DeviceRun, MeasurePlan, choose_runner, run_job
from harness.target import Runner
from targets.host import HOST_LITERT
from targets.runner import PYTHON
from tests.artifacts import write_artifact
from tests.harness.observed import Observed
from tests.oracle.models import conv, fully_connected

Array = Any


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)


Reach = Callable[[Device], Observed]


@pytest.fixture
def reach() -> Iterator[Reach]:
    """Opens the real transport to this host under the given entry."""
    with ExitStack() as stack:
        yield lambda device: Observed(stack.enter_context(connect(device)))


@pytest.fixture
def transport(device: Device, reach: Reach) -> Observed:
    return reach(device)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_artifact(tmp_path, fully_connected(3, batch=4).data)


def samples(count: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(count)
    return (rng.integers(-128, 128, (count, 16)).astype(np.int8),)


def expected(artifact: Artifact, x: Array) -> Array:
    """One sample at a time, through a batch of four copies of it."""
    interpreter = Interpreter(model_path=str(artifact.path))
    interpreter.allocate_tensors()
    rows = []
    for row in x:
        index = interpreter.get_input_details()[0]["index"]
        interpreter.set_tensor(index, np.repeat(row[None], 4, axis=0))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(rows)


def assert_clean(device: Device) -> None:
    assert list(Path(device.workdir, "jobs").iterdir()) == []


@pytest.mark.parametrize("count", [1, 4, 10])
def test_outputs_are_those_of_every_sample(
    transport: Observed, artifact: Artifact, count: int
) -> None:
    done = run_job(transport, PYTHON, artifact, samples(count), NONE)
    np.testing.assert_array_equal(done.outputs[0], expected(artifact, samples(count)[0]))
    assert len(done.results) == 1
    assert done.results[0].delegated == 1
    assert done.notes == ()
    assert_clean(transport.device)


def test_chunks_and_restarts(transport: Observed, artifact: Artifact) -> None:
    told: list[tuple[str, int, int | None]] = []
    done = run_job(
        transport,
        PYTHON,
        artifact,
        samples(22),
        MeasurePlan(restarts=3, warmup_runs=1, timed_runs=2, min_time_s=0),
        chunk_bytes=4 * (16 + 8) * 2,
        progress=lambda *step: told.append(step),
    )
    np.testing.assert_array_equal(done.outputs[0], expected(artifact, samples(22)[0]))
    assert [len(result.latency_ns) for result in done.results] == [2, 2, 2]
    assert [result.outputs for result in done.results] == [("out0.npy",), (), ()]
    assert len([argv for argv in transport.commands if "-I" in argv]) == 3 + 2
    assert told[-1] == ("run", 5, 5)
    assert_clean(transport.device)


def test_runner_and_artifact_are_pushed_once(transport: Observed, artifact: Artifact) -> None:
    Path(transport.device.workdir).mkdir(mode=0o755)
    run_job(transport, PYTHON, artifact, samples(1), NONE)
    run_job(transport, PYTHON, artifact, samples(2), NONE)
    assert len([path for path in transport.pushed if "/store/" in path]) == 2
    assert Path(transport.device.workdir).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ((), "takes 1 inputs, got 0"),
        ((np.zeros((4, 16), np.float32),), "takes int8"),
        ((np.zeros((4, 15), np.int8),), "(16,)"),
        ((np.zeros((0, 16), np.int8),), "at least one"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_here(
    transport: Observed, artifact: Artifact, inputs: tuple[Array, ...], named: str
) -> None:
    with pytest.raises(UsageError) as raised:
        run_job(transport, PYTHON, artifact, inputs, NONE)
    assert named in str(raised.value)
    assert not transport.commands


# --- the device's failures, each with its error ---------------------------------------------------


def fails(
    transport: Observed, artifact: Artifact, runner: Runner = PYTHON, **options: Any
) -> HarnessError:
    with pytest.raises(HarnessError) as raised:
        run_job(transport, runner, artifact, samples(4), NONE, **options)
    assert_clean(transport.device)
    return raised.value


def script(source: str) -> Runner:
    """A runner that is a shell script, run with the job's folder as $0."""
    return replace(PYTHON, argv=lambda _device, _files, job: ("sh", "-c", source, job))


def test_a_broken_model_is_a_model_error(
    transport: Observed, artifact: Artifact, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"TFL3 but not really")
    manifest = replace(artifact.manifest, sha256=sha256_file(broken))
    error = fails(transport, Artifact(broken, manifest))
    assert isinstance(error, ModelError)
    assert "broken.tflite: refused on device here" in str(error)


def test_what_the_runtime_printed_is_told(transport: Observed, artifact: Artifact) -> None:
    result = {"failure": {"kind": "model", "message": "status 3"}}
    source = (
        f"echo 'INFO: x\nERROR: no op FFT' >&2; echo '{json.dumps(result)}' > $0/out/result.json"
    )
    assert str(fails(transport, artifact, script(source))).endswith("status 3; ERROR: no op FFT")


def test_a_device_without_python_says_what_to_do(
    artifact: Artifact, device: Device, reach: Reach
) -> None:
    absent = reach(replace(device, python="/no/such/python3"))
    error = fails(absent, artifact)
    assert isinstance(error, RuntimeMissing)
    assert "/no/such/python3 cannot be executed" in str(error)
    with pytest.raises(RuntimeMissing, match="the device's entry names none"):
        run_job(reach(replace(device, python=None)), PYTHON, artifact, samples(4), NONE)


FAILURES = {
    "runtime_missing": RuntimeMissing,
    "artifact": ArtifactCorrupt,
    "disk_full": DeviceFull,
    "internal": DeviceError,
    "model": RefusedOnDevice,
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_the_runner_names_becomes_its_error(
    transport: Observed, artifact: Artifact, kind: str
) -> None:
    result = {"failure": {"kind": kind, "message": "so \x1b[31mit is"}}
    error = fails(transport, artifact, script(f"echo '{json.dumps(result)}' > $0/out/result.json"))
    assert type(error) is FAILURES[kind]
    assert "so ?[31mit is" in str(error)


@pytest.mark.parametrize(
    ("source", "kind", "named"),
    [
        ("kill -9 $$", RunnerKilled, "SIGKILL"),
        ("kill -SEGV $$", RunnerKilled, "SIGSEGV"),
        ("(exit 139)", RunnerKilled, "SIGSEGV"),
        ("echo 'Illegal thing' >&2; exit 3", RunnerKilled, "with status 3"),
        ("echo 'x: No space left on device' >&2; exit 1", DeviceFull, "no space"),
        ("exit 0", RunnerKilled, "without a result"),
        (
            'echo "x: version \\`GLIBC_2.34\' not found (required by x)" >&2; exit 1',
            RuntimeMissing,
            "cannot be executed",
        ),
    ],
)
def test_a_runner_without_a_result(
    transport: Observed,
    artifact: Artifact,
    source: str,
    kind: type[DeviceError],
    named: str,
) -> None:
    error = fails(transport, artifact, script(source))
    assert type(error) is kind
    assert named in str(error)


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, device: Device) -> Iterator[None]:
    """The device's working folder as a file system with the given limit."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = Path(device.workdir)
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder), check=True)
    yield
    subprocess.run(("umount", folder), check=True)


@pytest.mark.parametrize(
    ("small_disk", "count"),
    [("nr_inodes=2", 1), ("size=16k", 1), ("size=64k", 1), ("size=512k", 2048)],
    indirect=["small_disk"],
)
@pytest.mark.usefixtures("small_disk")
def test_a_full_disk(transport: Observed, tmp_path: Path, count: int) -> None:
    """No place for the folders, for the runner, for the artifact, for the inputs."""
    artifact = write_artifact(tmp_path, fully_connected(3, depth=256, channels=256).data)
    x = np.zeros((count, 256), np.int8)
    with pytest.raises(DeviceFull, match="device here"):
        run_job(transport, PYTHON, artifact, (x,), NONE)
    for folder in Path(transport.device.workdir).glob("jobs"):
        assert not list(folder.iterdir())


def test_the_real_runner_killed_in_the_middle(transport: Observed, artifact: Artifact) -> None:
    killer = '"$1" -I "$2" "$0" & sleep 0.4; kill -9 $!; wait $!'
    runner = replace(
        PYTHON,
        argv=lambda device, files, job: ("sh", "-c", killer, job, str(device.python), files[0]),
    )
    with pytest.raises(RunnerKilled, match="SIGKILL"):
        run_job(transport, runner, artifact, samples(4), MeasurePlan(1, 0, 10**9, 0))
    assert_clean(transport.device)


def test_a_timeout_leaves_nothing(transport: Observed, artifact: Artifact) -> None:
    error = fails(transport, artifact, script("exec sleep 60"), timeout_s=0.3)
    assert isinstance(error, DeviceTimeout)


def test_ctrl_c_leaves_nothing(transport: Observed, artifact: Artifact) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_job(
            transport,
            replace(PYTHON, argv=lambda *_: (os.kill(os.getpid(), signal.SIGINT), ("true",))[1]),
            artifact,
            samples(4),
            NONE,
        )
    assert_clean(transport.device)


def test_an_exit_status_after_the_result_is_noted(transport: Observed, artifact: Artifact) -> None:
    source = '"$1" -I "$2" "$0"; exit 139'
    runner = replace(
        PYTHON,
        argv=lambda device, files, job: ("sh", "-c", source, job, str(device.python), files[0]),
    )
    done = run_job(transport, runner, artifact, samples(4), NONE)
    assert "then ended by SIGSEGV" in done.notes[0]


def test_a_failed_clean_up_does_not_mask_the_first_error(
    transport: Observed, artifact: Artifact
) -> None:
    def lose(argv: Sequence[str]) -> None:
        if argv[0] == "rm":
            raise TransportError("connection lost", device="here")

    transport.before_command = lose
    with pytest.raises(RunnerKilled) as raised:
        run_job(transport, script("exit 1"), artifact, samples(4), NONE)
    assert "was not removed" in raised.value.__notes__[0]
    done = run_job(transport, PYTHON, artifact, samples(4), NONE)
    assert "connection lost" in done.notes[0]


# --- what comes back is not trusted ---------------------------------------------------------------


def save(array: Array) -> Callable[[Path], None]:
    return lambda job: np.save(job / "out/out0.npy", array)


def rewrite(**fields: Any) -> Callable[[Path], None]:
    def change(job: Path) -> None:
        path = job / "out/result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def append(job: Path, count: int = 10_000) -> None:
    with (job / "out/out0.npy").open("ab") as stream:
        stream.write(b"x" * count)


def open_bracket(job: Path) -> None:
    """A header that Python's own tokenizer stumbles over."""
    path = job / "out/out0.npy"
    path.write_bytes(path.read_bytes().replace(b" (", b"((", 1))


UNTRUSTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "dtype": (save(np.zeros((4, 8), np.int16)), "expected int8 of shape (4, 8), got int16"),
    "shape": (save(np.zeros((5, 8), np.int8)), "got int8 of shape (5, 8)"),
    "pickle": (save(np.array([{}], object)), "broken file"),
    "archive": (lambda job: np.savez((job / "out/out0.npy").open("wb"), a=1), "broken file"),
    "empty": (lambda job: (job / "out/out0.npy").write_bytes(b"") and None, "broken file"),
    "truncated": (lambda job: os.truncate(job / "out/out0.npy", 140), "broken file"),
    "longer": (append, "10000 bytes behind it"),
    "a little longer": (lambda job: append(job, 1), "1 bytes behind it"),
    "an open bracket": (open_bracket, "broken file"),
    "missing": (lambda job: (job / "out/out0.npy").unlink(), "must be ['out0.npy']"),
    "extra": (lambda job: (job / "out/more").write_text("") and None, "more"),
    "a link": (lambda job: (job / "out/more").symlink_to("/etc/passwd"), "more"),
    "named elsewhere": (rewrite(outputs=["../../x.npy"]), "../../x.npy"),
    "no json": (lambda job: (job / "out/result.json").write_text("{") and None, "not a runner"),
    "unknown field": (rewrite(cmd="x"), "not a runner"),
    "schema": (rewrite(schema=2), "schema 2"),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_what_comes_back_is_checked(transport: Observed, artifact: Artifact, case: str) -> None:
    transport.after_run, named = UNTRUSTED[case]
    error = fails(transport, artifact)
    assert isinstance(error, DeviceError)
    assert named in str(error)


def test_a_working_folder_that_is_a_link_is_refused(
    transport: Observed, artifact: Artifact, device: Device, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(device.workdir).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="working folder"):
        run_job(transport, PYTHON, artifact, samples(4), NONE)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_several_inputs_and_images(transport: Observed, tmp_path: Path) -> None:
    model = conv(5, shape=(1, 6, 6, 3))
    artifact = write_artifact(tmp_path, model.data)
    x = np.concatenate([model.sample(seed)[0] for seed in range(3)])
    done = run_job(transport, PYTHON, artifact, (x,), NONE, kernels="reference")
    assert done.outputs[0].shape == (3, 6, 6, 8)
    assert done.results[0].kernels == "reference"


# --- what a device says of times ------------------------------------------------------------------

TIMED = MeasurePlan(restarts=1, warmup_runs=2, timed_runs=3, min_time_s=0)
TRUE = {"load_ns": 1000, "warmup_ns": [900, 800], "latency_ns": [500, 600, 700]}


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"latency_ns": [500, 0, 700]}, "an invocation of 0 ns"),
        ({"warmup_ns": [0, 800]}, "an invocation of 0 ns"),
        ({"latency_ns": [500]}, "1 samples; allowed: 3 to 10000"),
        ({"latency_ns": []}, "0 samples; allowed: 3 to 10000"),
        ({"latency_ns": [500, 600, 700, 800]}, "4 samples, though 3"),
        ({"latency_ns": [5] * 50_000}, "50000 samples; allowed: 3 to 10000"),
        ({"latency_ns": [5] * 3_000_000}, "latency_ns"),
        ({"warmup_ns": [900]}, "1 warm-up samples, 2 were asked for"),
        ({"latency_ns": [500, 600, 10**14]}, "its process took"),
        ({"load_ns": 10**14}, "its process took"),
        ({"op_times": [{"node": 0, "op": "ADD", "total_ns": 9, "runs": 7}]}, "7 profiled runs"),
        ({"op_times": [{"node": 0, "op": "A", "total_ns": 10**14, "runs": 0}]}, "its process took"),
    ],
)
def test_times_that_cannot_be_true_are_refused(
    transport: Observed, artifact: Artifact, tmp_path: Path, told: dict[str, Any], named: str
) -> None:
    answer = told_by(transport, artifact, tmp_path, TIMED, TRUE | told)
    assert type(answer) is DeviceError
    assert named in str(answer)
    assert_clean(transport.device)


def test_timed_runs_that_ended_too_early_are_refused(
    transport: Observed, artifact: Artifact, tmp_path: Path
) -> None:
    answer = told_by(transport, artifact, tmp_path, replace(TIMED, min_time_s=1.0), TRUE)
    assert "had to go on for 1000000000 ns" in str(answer)


def test_words_of_a_device_are_short_and_safe(
    transport: Observed, artifact: Artifact, tmp_path: Path
) -> None:
    wild = "\x1b[31m\nred" + "x" * 100_000
    told = {"cpu": wild, "runner": wild, "before": {"temperatures_millidegree": {wild: 1}}}
    done = told_by(transport, artifact, tmp_path, TIMED, TRUE | told)
    assert not isinstance(done, HarnessError)
    first = done.results[0]
    for text in (first.cpu, first.runner, *first.before.temperatures_millidegree):
        assert text.startswith("?[31m red")
        assert len(text) == 1000


def told_by(
    transport: Observed,
    artifact: Artifact,
    tmp_path: Path,
    measure: MeasurePlan,
    told: dict[str, Any],
) -> DeviceRun | HarnessError:
    """What comes of a device whose runner tells that, and right outputs."""
    result, output = tmp_path / "told.json", tmp_path / "told.npy"
    result.write_text(json.dumps({"outputs": ["out0.npy"]} | told))
    np.save(output, expected(artifact, samples(4)[0]))
    runner = script(f'cp {output} "$0/out/out0.npy"; cp {result} "$0/out/result.json"')
    try:
        return run_job(transport, runner, artifact, samples(4), measure)
    except HarnessError as error:
        return error


# --- which runner ---------------------------------------------------------------------------------

NATIVE = replace(PYTHON, name="native")
TARGET = replace(HOST_LITERT, native_runner=lambda machine: replace(NATIVE, files=(Path(machine),)))


def test_a_device_with_python_gets_the_python_runner(transport: Observed) -> None:
    assert choose_runner(transport, TARGET) is PYTHON
    assert choose_runner(transport, TARGET, "python") is PYTHON


def test_the_native_runner_where_there_is_no_python_or_on_request(
    device: Device, reach: Reach
) -> None:
    bare = reach(replace(device, python=None))
    for chosen in (choose_runner(bare, TARGET), choose_runner(reach(device), TARGET, "native")):
        assert chosen.name == "native"
        assert chosen.files == (Path(os.uname().machine),)
    board = replace(TARGET, machine="aarch64")
    assert choose_runner(bare, board).files == (Path("aarch64"),)


def test_a_target_may_put_the_native_runner_first(transport: Observed) -> None:
    first = replace(TARGET, native_first=True)
    assert choose_runner(transport, first).name == "native"
    assert choose_runner(transport, first, "python") is PYTHON

    def unbuilt(_machine: str) -> Runner:
        raise UsageError("no compiler here")

    broken = replace(first, native_runner=unbuilt, packages=("lab_runtime",))
    with pytest.raises(UsageError, match=r"no compiler here\nor, .*lab_runtime.*--runner python"):
        choose_runner(transport, broken)
    with pytest.raises(UsageError, match=r"^no compiler here$"):
        choose_runner(transport, broken, "native")


def test_a_target_without_a_native_runner_says_so(device: Device, reach: Reach) -> None:
    bare = reach(replace(device, python=None))
    with pytest.raises(UsageError, match="host-litert has no native runner"):
        choose_runner(bare, replace(TARGET, native_runner=None))
