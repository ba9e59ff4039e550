"""Whole models that nobody of this project made, against the real runtime, every tensor."""

import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite

FOLDER = os.environ.get("EDGEFARM_TEST_MODELS", "")
FILES = (
    sorted(p for p in Path(FOLDER).glob("*.tflite") if "edgetpu" not in p.name) if FOLDER else []
)

pytestmark = pytest.mark.skipif(not FILES, reason="EDGEFARM_TEST_MODELS names no folder of models")


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[i] for i in graph.inputs]
    return [
        rng.integers(np.iinfo(t.dtype).min, np.iinfo(t.dtype).max + 1, t.shape).astype(t.dtype)
        for t in tensors
    ]


def run_reference(path: Path, inputs: list[Array]) -> Interpreter:
    interpreter = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for detail, x in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return interpreter


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize("seed", range(2))
def test_every_tensor_equals_the_reference_kernels(path: Path, seed: int) -> None:
    graph = read_tflite(path).main
    inputs = random_inputs(graph, seed)
    emulation = emulate(graph, get_profile("litert-ref"), inputs, all_tensors=True)
    runtime = run_reference(path, inputs)
    assert not emulation.unknown
    assert set(emulation.promises.values()) == {"exact"}
    for node in graph.nodes:
        for output in node.outputs:
            np.testing.assert_array_equal(
                emulation.tensors[output],
                runtime.get_tensor(output),
                err_msg=f"node {node.index} ({node.op})",
            )
