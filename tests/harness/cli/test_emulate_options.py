"""`edgefarm emulate` with a signature, and with another batch than the file's."""

from pathlib import Path

import numpy as np
import pytest

from tests.harness.cli.command import Edgefarm
from tests.oracle import control


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[object, ...]:
    inputs, out = tmp_path / "in.npz", tmp_path / "out.npz"
    return ("--profile", "litert-ref", "--inputs", inputs, "--out", out)


def test_a_signature_chooses_the_graph(
    edgefarm: Edgefarm, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(control.branches())
    x = np.array([[1, 2, 3, 4, 5]], np.int8)
    np.savez(tmp_path / "in.npz", in0=x)
    assert edgefarm("emulate", model, *arguments, "--signature", "double").code == 0
    ((expected,),) = control.invoke(control.branches(), [[np.ones(1, np.bool_), x]])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["out0"], expected)
    refused = edgefarm("emulate", model, *arguments, "--signature", "train")
    assert refused.code == 2
    assert "'serve', 'double'" in refused.err


def test_a_batch_that_the_file_leaves_open(
    edgefarm: Edgefarm, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(control.open_shapes())
    x = np.random.default_rng(0).integers(-128, 128, (6, 4, 5, 3)).astype(np.int8)
    np.savez(tmp_path / "in.npz", in0=x)
    assert edgefarm("emulate", model, *arguments, "--batch", 3).code == 0
    parts = control.invoke(control.open_shapes(), [[x[:3]], [x[3:]]])
    got = np.load(tmp_path / "out.npz")["out0"]
    np.testing.assert_array_equal(got, np.concatenate([y for (y,) in parts]))
