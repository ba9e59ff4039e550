"""Weights with a scale for each block: XNNPACK's kernel of this processor, and broken files."""

import platform
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from tests.oracle.catalogue import draw
from tests.oracle.runtimes import Request, run_all

_CPU = Path("/proc/cpuinfo")
_FLAGS = _CPU.read_text().split() if _CPU.exists() else []
FAMILY = "FULLY_CONNECTED-blockwise-int4"


@pytest.mark.skipif(
    platform.machine() != "x86_64" or "avx2" not in _FLAGS or any("vnni" in f for f in _FLAGS),
    reason="another kernel than that of AVX2",
)
def test_the_kernel_of_avx2() -> None:
    models = draw(FAMILY, 12)
    answers = run_all([Request(m.data, m.sample(0), "xnnpack") for m in models])
    for model, answer in zip(models, answers, strict=True):
        graph = read_tflite(model.data).main
        (expected,) = emulate(graph, get_profile("litert-xnnpack-x86"), model.sample(0)).outputs
        assert answer.delegated == 1
        assert expected is not None
        assert np.array_equal(expected, answer.tensors[graph.outputs[0]]), model.name


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("scales", 99, "scales of tensor"),
        ("scales", 0, "not one constant float16"),
        ("blockSize", 0, "blocks of 0"),
        ("blockSize", -32, "blocks of -32"),
        ("blockSize", 7, "blocks of 7"),
        ("blockSize", 16, "not one constant float16"),
    ],
)
def test_broken_blocks_are_refused(field: str, value: int, words: str) -> None:
    (model,) = draw(FAMILY, 1)
    tree = schema.ModelT.InitFromPackedBuf(model.data, 0)
    weights = tree.subgraphs[0].operators[0].inputs[1]
    setattr(tree.subgraphs[0].tensors[weights].quantization.details, field, value)
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    with pytest.raises(ModelError, match=words):
        read_tflite(bytes(packer.Output()))
