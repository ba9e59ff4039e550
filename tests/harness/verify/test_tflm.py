"""Verify judged by the TensorFlow Lite Micro interpreter, in its own process."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.emulator.profiles import PROFILES, get_profile
from harness.errors import ModelError, UsageError
from harness.host import extras
from harness.verify.random_inputs import EXTREMES
from harness.verify.tflm import verify_tflm
from tests.harness.emulator.test_buffers_behind import moved_behind
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.networks import RESIDUAL_TENSORS, residual


def store(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return path


def test_every_tensor_is_judged(tmp_path: Path) -> None:
    report = verify_tflm(store(tmp_path, residual()), seeds=(1, 2))
    assert report.exit_code == 0
    assert (report.profile, report.result.runtime) == ("tflm", "tflite_micro")
    assert report.invocations == 2 + EXTREMES
    assert {(row.op, row.promise, row.differing) for row in report.rows} == {
        (op, "exact", 0) for op in RESIDUAL_TENSORS
    }
    assert report.end_to_end.verdict == "exact"


def test_a_wrong_profile_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = get_profile("tflm")
    wrong = (
        replace(entry, semantics="S3:double") if "CONV_2D" in entry.ops else entry
        for entry in right.entries
    )
    monkeypatch.setitem(PROFILES, "tflm", replace(right, entries=tuple(wrong)))
    report = verify_tflm(store(tmp_path, residual()), seeds=(1, 2))
    assert report.exit_code == 1
    assert [one.op for one in report.broken] == ["CONV_2D"]


def test_an_op_it_lacks_is_a_model_error(tmp_path: Path) -> None:
    builder = Builder()
    x = builder.tensor((1, 8), "uint8", per_tensor(0.5, 3))
    y = builder.tensor((1, 8), "uint8", per_tensor(0.5, 3))
    builder.op("LOGISTIC", [x], [y], options("Reshape"))
    path = store(tmp_path, builder.finish([x], [y]))
    with pytest.raises(ModelError, match=r"model\.tflite: TensorFlow Lite Micro: RuntimeError"):
        verify_tflm(path, seeds=(1,))


def test_constants_that_it_would_not_see_are_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="behind the flatbuffer"):
        verify_tflm(store(tmp_path, moved_behind(residual())), seeds=(1,))


def test_the_extra_is_named_when_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install 'edgefarm\[tflm\]'"):
        verify_tflm(store(tmp_path, residual()))
