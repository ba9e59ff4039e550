"""Which invocations are looked at as a whole: spread over the set, bounded, or from the start."""

import numpy as np
import pytest

from harness.artifact import TensorSpec
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph
from harness.judge import traced
from harness.judge.traced import bounds_of, constants_of, invocations_to_trace, samples_in
from tests.oracle.networks import RESIDUAL_TENSORS, residual


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_tflite(residual()).main


def test_memory_bounds_what_is_traced(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    each = sum(int(np.prod(t.shape)) for t in graph.tensors if t.data is None)
    monkeypatch.setattr(traced, "TRACED_BYTES", 3 * each)
    assert invocations_to_trace(graph, 100) == (0, 50, 99)
    assert invocations_to_trace(graph, 100, 7) == (7, 50, 99)
    monkeypatch.setattr(traced, "TRACED_BYTES", 1)
    assert invocations_to_trace(graph, 100) == (0,)
    assert invocations_to_trace(graph, 100, 64) == (64,)
    assert invocations_to_trace(graph, 1) == (0,)


def test_a_graph_that_keeps_state_is_traced_from_its_start(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "keeps_state", lambda _graph: True)
    assert invocations_to_trace(graph, 100) == tuple(range(16))
    assert invocations_to_trace(graph, 100, 40) == tuple(range(41))
    each = sum(int(np.prod(t.shape)) for t in graph.tensors if t.data is None)
    monkeypatch.setattr(traced, "TRACED_BYTES", 20 * each)
    assert invocations_to_trace(graph, 100, 40) == tuple(range(20))


def test_ranges_of_samples() -> None:
    four, one = TensorSpec("x", (4, 3), "int8"), TensorSpec("x", (1, 3), "int8")
    table = TensorSpec("table", (7, 3), "int8", batched=False)
    x = np.zeros((98, 3), np.int8)
    assert samples_in([four], (0, 1, 5, 24), [x]) == ((0, 8), (20, 24), (96, 98))
    assert samples_in([four], (0,), [x[:3]]) == ((0, 3),)
    assert samples_in([one], (0, 2), [x[:3]]) == ((0, 1), (2, 3))
    assert samples_in([table, one], (0, 2), [x[:7], x[:3]]) == ((0, 1), (2, 3))
    assert samples_in([table], (0, 1), [x[:14]]) == ((0, 2),)


def test_bounds_are_what_the_integers_hold(graph: Graph) -> None:
    bounds = bounds_of(graph)
    relu = graph.tensors[RESIDUAL_TENSORS["RELU"]].name
    assert bounds[relu] == ((-128 - 10) / 4, (127 - 10) / 4)
    assert constants_of(graph) == frozenset()
