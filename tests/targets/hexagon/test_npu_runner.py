"""The runner's NPU path: the libraries are checked first; its calls are tried on the CPU here."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.device import Device
from harness.errors import RuntimeMissing
from harness.protocol import Delegate, Result, parse_result
from targets import get_target
from tests.oracle.models import conv
from tests.targets import jobs

RUNNER = get_target("hexagon-litert").runner
BUILD = "v2.51.0.260929181845"


def libraries(folder: Path, build: str = BUILD) -> Path:
    folder.mkdir()
    (folder / "libQnnSystem.so").write_bytes(f"\0{build}\0".encode())
    (folder / "libLiteRtDispatch_Qualcomm.so").write_bytes(b"")
    return folder


def ran(folder: Path, where: Path, delegate: Delegate) -> Result:
    job = jobs.make_job(folder, conv(), delegate=delegate)
    argv = (sys.executable, "-I", *map(str, RUNNER.files), str(job))
    env = {**os.environ, "LD_LIBRARY_PATH": str(where)}
    done = subprocess.run(argv, capture_output=True, cwd="/", env=env, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return parse_result((job / "out/result.json").read_bytes(), device="here")


def delegate(build: str, **options: str) -> Delegate:
    return Delegate(library="libLiteRtDispatch_Qualcomm.so", build=build, options=options)


def test_another_build_is_refused_before_the_model_is_opened(tmp_path: Path) -> None:
    where = libraries(tmp_path / "qairt", "v2.37.0.250724000000")
    failure = ran(tmp_path / "job", where, delegate(BUILD)).failure
    assert failure is not None
    assert failure.kind == "runtime_missing"
    assert "is QAIRT v2.37.0.250724000000, the model was compiled with v2.51.0" in failure.message


def test_missing_libraries_are_named(tmp_path: Path) -> None:
    failure = ran(tmp_path / "job", tmp_path / "nothing", delegate(BUILD)).failure
    assert failure is not None
    assert "nothing/libQnnSystem.so: no such library" in failure.message


def test_the_calls_of_a_compiled_model_give_its_outputs(tmp_path: Path) -> None:
    where = libraries(tmp_path / "qairt")
    result = ran(tmp_path / "job", where, delegate(BUILD, accelerator="CPU"))
    [got] = jobs.outputs(tmp_path / "job", result)
    [expected] = jobs.interpreter_says(conv(), 3, "xnnpack")
    assert np.array_equal(got, expected)
    assert result.delegate == "libLiteRtDispatch_Qualcomm.so"


def test_where_the_libraries_are_is_in_the_devices_entry() -> None:
    device = Device("phone", "ssh", ("hexagon-litert",))
    with pytest.raises(RuntimeMissing, match="add the tag qairt=FOLDER"):
        RUNNER.argv(device, ("/store/a", "/store/b"), "/jobs/1")
