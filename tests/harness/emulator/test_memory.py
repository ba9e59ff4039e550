"""The memory rule: three times the weights, and the live tensors of the batch."""

import math
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from harness.emulator import core
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile

FOLDER = os.environ.get("EDGEFARM_TEST_MODELS", "")
FILES = (
    sorted(p for p in Path(FOLDER).glob("*.tflite") if "edgetpu" not in p.name) if FOLDER else []
)
OBJECTS = 2 << 20
"""Python's objects for the graph, the threads' stacks, code that is used for the first time."""


def status(key: str) -> int:
    """A size of this process, in bytes: VmRSS or, since it was last cleared, VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def peak_of(path: Path, batch: int) -> int:
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    graph = read_tflite(path).main
    tensors = [graph.tensors[index] for index in graph.inputs]
    inputs = [np.zeros((batch * t.shape[0], *t.shape[1:]), t.dtype) for t in tensors]
    Emulator(graph, get_profile("litert-xnnpack-x86")).run(inputs)
    return status("VmHWM") - before


def live_bytes(graph: Graph) -> int:
    """Most bytes of computed tensors that are still needed at one time."""
    last = {i: node.index for node in graph.nodes for i in node.inputs}
    live, most = set(graph.inputs), 0
    for node in graph.nodes:
        live |= set(node.outputs)
        tensors = [graph.tensors[i] for i in live]
        most = max(most, sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in tensors))
        live = {i for i in live if last.get(i, -1) > node.index or i in graph.outputs}
    return most


@pytest.mark.skipif(not FILES, reason="EDGEFARM_TEST_MODELS names no folder of models")
@pytest.mark.skipif(core.level() is None, reason="the definitions alone use more")
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_peak_memory(path: Path, batch: int) -> None:
    graph = read_tflite(path).main
    weights = sum(t.data.nbytes for t in graph.tensors if t.data is not None)
    with multiprocessing.get_context("spawn").Pool(1) as alone:
        alone.apply(peak_of, (FILES[0], 1))  # loads the code
        peak = alone.apply(peak_of, (path, batch))
    assert peak <= 3 * weights + batch * live_bytes(graph) + OBJECTS
