"""A result that cannot be saved is shown all the same; then comes the error with its own code."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import evaluation
from harness.records import Run
from tests.farm.jobs_in import a_run
from tests.harness.cli.command import Edgefarm
from tests.harness.cli.conftest import Quantized


@pytest.fixture
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model is evaluated, the disk fills up, or somebody takes the folder away."""
    monkeypatch.setattr("harness.evaluate.evaluate", lambda *_args, **_options: a_run())


ASKED = ("--target", "host-litert", "--data", "data.npz", "--out", "kept")


@pytest.mark.usefixtures("no_place", "quantized")
@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 3), (errno.EACCES, 2)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_cannot_be_saved(
    edgefarm: Edgefarm,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
    as_json: bool,
) -> None:
    def fails(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fails)
    said = edgefarm("run", "conv.tflite", *ASKED, *(["--json"] * as_json))
    assert said.code == code, said.err
    assert os.strerror(number) in said.err
    if as_json:
        assert json.loads(said.out)["outcome"] == "PASS"
    else:
        assert "PASS" in said.out
        assert "report:" not in said.out


@pytest.mark.usefixtures("no_place")
def test_a_page_that_cannot_be_written(
    edgefarm: Edgefarm, quantized: Quantized, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_runs: list[Run], path: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(evaluation, "write_report", fails)
    said = edgefarm("run", quantized.file, *ASKED)
    assert (said.code, "PASS" in said.out) == (3, True)
    assert "disk is full" in said.err
    said = edgefarm("report", "kept")
    assert (said.code, "PASS" in said.out) == (3, True)


@pytest.mark.parametrize("more", ["", " --json"])
@pytest.mark.parametrize(("to", "code", "said"), [("> /dev/full", 3, "HostFull: "), (">&-", 0, "")])
def test_a_stdout_that_takes_nothing(more: str, to: str, code: int, said: str) -> None:
    command = f"exec {sys.executable} -P -m harness.cli recipes{more} {to}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr[: len(said)]) == (code, said)
    assert ended.stderr.count("\n") == bool(said)
