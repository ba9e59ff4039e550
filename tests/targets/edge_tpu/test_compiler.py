"""The compiler's logs, as people printed them, and a stand-in for the compiler that misbehaves."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.artifact import Artifact, Manifest, load_artifact
from harness.errors import ModelError, UsageError
from harness.target import CompileRequest
from targets.edge_tpu.build import compile_edge_tpu
from targets.edge_tpu.compiler import compile_model, compiler_version
from targets.edge_tpu.log import MAPPED, STATUSES, parse_log
from tests.oracle.networks import residual

LOGS = Path(__file__).parent / "logs"
PARSED = {path.name: parse_log(path.read_text()) for path in LOGS.iterdir() if path.suffix != ".md"}


def test_one_model() -> None:
    log = PARSED["single-16.txt"]
    [model] = log.models
    assert (log.version, log.elapsed_ms, log.failures) == ("16.0.384591198", 542, ())
    assert (model.source, model.compiled) == (
        "quantized_model.tflite",
        "quantized_model_edgetpu.tflite",
    )
    assert (model.cached_bytes, model.remaining_bytes) == (604.5 * 1024, 511.5 * 1024)
    assert model.streamed_bytes == round(3.45 * (1 << 20))
    assert (model.subgraphs, model.operations, model.rows) == (1, 50, ())


def test_several_models() -> None:
    first, second = PARSED["several-16.txt"].models
    assert (first.operations, second.operations) == (57, 6)
    assert first.remaining_bytes == second.remaining_bytes
    assert second.source == "temp_models/2.tflite"


def test_a_table_adds_up() -> None:
    [model] = PARSED["partial-15.txt"].models
    mapped = sum(row.count for row in model.rows if row.status == MAPPED)
    assert (mapped, sum(row.count for row in model.rows)) == (model.on_edge_tpu, model.operations)
    assert model.on_cpu == 3


def test_every_status_is_in_the_corpus() -> None:
    seen = {row.status for log in PARSED.values() for m in log.models for row in m.rows}
    assert seen == set(STATUSES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refused-16.txt", "TRANSPOSE_CONV' version '4'"),
        ("dynamic-16.txt", "only supports static-sized tensors"),
        ("crashed-15.txt", "Internal compiler error"),
        ("float-16.txt", "Model not quantized"),
    ],
)
def test_failures_keep_their_reason(name: str, said: str) -> None:
    assert said in " ".join(PARSED[name].failures)
    assert not PARSED[name].models


@pytest.mark.parametrize(
    "line",
    [
        "Something entirely new",
        "CONV_2D    3    Mapped to Edge TPU 2",
        "Input size: much",
        "Total number of operations: many",
    ],
)
def test_an_unknown_line_is_an_error_that_names_it(line: str) -> None:
    text = (LOGS / "single-16.txt").read_text() + line
    with pytest.raises(ModelError, match=r"edgetpu_compiler 16\.0\.384591198: the (line|status)"):
        parse_log(text)


def installed(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of that name first on the PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / "edgetpu_compiler"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo Internal compiler error. Aborting!; exit 1", "refuses it: Internal compiler error"),
        ("echo 'cannot open shared object' >&2; exit 127", "is not known here"),
        ("exit 3", "ended with status 3"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("sleep 60 & sleep 60", "not done after 0.5 s, killed"),
        (f"cat {LOGS / 'single-16.txt'}", "made no model_edgetpu.tflite"),
    ],
)
def test_a_compiler_that_misbehaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    installed(tmp_path / "bin", script, monkeypatch)
    (tmp_path / "model.tflite").write_bytes(residual())
    with pytest.raises(ModelError, match=said):
        compile_model(tmp_path / "model.tflite", tmp_path, timeout_s=0.5)


def test_a_missing_compiler_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler_version() is None
    with pytest.raises(UsageError, match=r"not on the PATH: install it .*coral\.ai"):
        compile_model(tmp_path / "model.tflite", tmp_path)


def compiled_but_for_the_last(content: bytes) -> bytes:
    """What the compiler makes when it leaves the last op on the CPU."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    code, custom = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode, code.version = "edgetpu-custom-op", 1
    model.operatorCodes.append(code)
    custom.opcodeIndex = len(model.operatorCodes) - 1
    custom.inputs, custom.outputs = graph.inputs, graph.operators[-2].outputs
    graph.operators = [custom, graph.operators[-1]]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def lowered(folder: Path) -> Artifact:
    path = folder / "lowered.tflite"
    path.write_bytes(residual())
    return Artifact(path, Manifest("", 0, "litert", "edge-tpu", "", "lab-model", (), ()))


def test_prediction_and_fact_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = lowered(tmp_path)
    (tmp_path / "made").write_bytes(compiled_but_for_the_last(residual()))
    log = LOGS / "single-16.txt"
    installed(
        tmp_path / "bin",
        f'cat {log}; cp {tmp_path}/made "$3/model_edgetpu.tflite"; '
        "echo; echo 'ADD  1  Operation not supported'",
        monkeypatch,
    )
    (tmp_path / "out").mkdir()
    request = CompileRequest(source, "edge-tpu", None, tmp_path / "out", "model.tflite")
    compile_edge_tpu(request, lambda *_: None)
    report = load_artifact(tmp_path / "out/model.tflite").manifest.placement
    assert report is not None
    last = report.placement[-1]
    assert [one.where for one in report.placement[:-1]] == ["edge-tpu"] * (
        len(report.placement) - 1
    )
    assert last.where == "cpu"
    assert "predicted otherwise: mapped" in last.why
    assert f"the prediction was wrong for 1 ops: {last.op}" in report.notes[-1]


def test_without_the_compiler_the_file_is_made_ready_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    request = CompileRequest(lowered(tmp_path), "edge-tpu", None, tmp_path, "model.tflite")
    made = compile_edge_tpu(request, lambda *_: None)
    assert made.manifest.placement is None
    assert "not compiled: edgetpu_compiler is not on the PATH" in made.manifest.notes[-1]
    broken = replace(request.lowered, path=tmp_path / "broken.tflite")
    broken.path.write_bytes(b"TFL3 or not")
    with pytest.raises(ModelError, match="not a usable TFLite model"):
        compile_edge_tpu(replace(request, lowered=broken), lambda *_: None)
