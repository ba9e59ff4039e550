"""Placement on LiteRT's CPU kernels, against what the runner reports when the same file runs."""

from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.errors import ModelError, UsageError
from harness.quantize.placing import check
from targets import get_target
from targets.litert_placing import check_litert
from targets.runner.edgefarm_runner import LiteRt
from tests.oracle.models import conv
from tests.oracle.networks import residual

HOST = get_target("host-litert")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def changed_codes(content: bytes, **fields: object) -> bytes:
    """The model with its first operator code changed."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for name, value in fields.items():
        setattr(model.operatorCodes[0], name, value)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_what_is_left_is_what_the_runtime_does_not_delegate(tmp_path: Path) -> None:
    path = written(tmp_path, residual())
    report = check(HOST, path)
    runtime = LiteRt()
    runtime.load(str(path), "xnnpack", 1)
    assert runtime.delegated == len(report.placement) - len(report.left)
    assert [one.node for one in report.placement] == list(range(len(report.placement)))
    assert {one.where for one in report.placement} == {"cpu"}
    assert all((one.why == "XNNPACK") == (one.node not in report.left) for one in report.placement)


def test_a_version_that_the_runtime_lacks_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, changed_codes(conv().data, version=99))
    [one] = check_litert(path, None, lambda *_: None).impossible
    assert (one.op, one.where) == ("CONV_2D", "none")
    assert "version 99" in one.why


def test_a_custom_op_that_the_runtime_lacks_is_named(tmp_path: Path) -> None:
    custom = {"builtinCode": 32, "deprecatedBuiltinCode": 32, "customCode": "lab-op"}
    path = written(tmp_path, changed_codes(conv().data, **custom))
    report = check(HOST, path)
    assert [one.op for one in report.impossible] == ["lab-op"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="TFL3"):
        check(HOST, written(tmp_path, b"not a model at all"))
    with pytest.raises(UsageError, match=r"runs \.tflite files"):
        check(HOST, tmp_path / "model.pte")
    with pytest.raises(UsageError, match="leave out --soc"):
        check(HOST, written(tmp_path, conv().data), "SM8650")
    with pytest.raises(UsageError, match="No such file"):
        check(HOST, tmp_path / "absent.tflite")
