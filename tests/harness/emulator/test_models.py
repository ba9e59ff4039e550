"""Whole models that nobody of this project made, against the real runtime, every tensor."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from tests.oracle.runtimes import Kernels, Request, run_all

FOLDER = os.environ.get("EDGEFARM_TEST_MODELS", "")
FILES = (
    sorted(p for p in Path(FOLDER).glob("*.tflite") if "edgetpu" not in p.name) if FOLDER else []
)
PROFILES: dict[str, Kernels] = {"litert-ref": "reference"}
if platform.machine() == "x86_64":
    PROFILES |= {"litert-builtin-x86": "builtin", "litert-xnnpack-x86": "xnnpack"}
SEEDS = 2

pytestmark = pytest.mark.skipif(not FILES, reason="EDGEFARM_TEST_MODELS names no folder of models")


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[i] for i in graph.inputs]
    limits = [np.iinfo(t.dtype) for t in tensors]
    return [
        rng.integers(limit.min, limit.max + 1, t.shape).astype(t.dtype)
        for t, limit in zip(tensors, limits, strict=True)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_tensor_equals_the_runtime_s(path: Path, profile: str) -> None:
    graph = read_tflite(path).main
    inputs = [random_inputs(graph, seed) for seed in range(SEEDS)]
    content, kernels = path.read_bytes(), PROFILES[profile]
    exposed = run_all([Request(content, tuple(x), kernels) for x in inputs])
    plain = run_all([Request(content, tuple(x), kernels, all_tensors=False) for x in inputs])
    together = [np.concatenate(x) for x in zip(*inputs, strict=True)]
    emulation = emulate(graph, get_profile(profile), together, all_tensors=True)
    assert not emulation.unknown
    assert set(emulation.promises.values()) == {"exact"}
    for node in graph.nodes:
        for output in node.outputs:
            got = np.concatenate([answer.tensors[output] for answer in exposed])
            what = f"node {node.index} ({node.op})"
            np.testing.assert_array_equal(emulation.tensors[output], got, err_msg=what)
    for output in graph.outputs:
        got = np.concatenate([answer.tensors[output] for answer in plain])
        np.testing.assert_array_equal(emulation.tensors[output], got)
