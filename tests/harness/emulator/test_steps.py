"""Many steps at once give what each step gives alone, on every level of the core."""

import numpy as np
import pytest

from harness.emulator import core
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph, Node, Quantization, Tensor
from harness.emulator.interpreter import Emulator, emulate
from harness.emulator.profiles import get_profile
from harness.emulator.steps import Ragged, each_step, steps_at_once
from tests.oracle.networks import residual

PROFILE = get_profile("litert-ref")
SAMPLES = 150
LEVELS = ("none", *core.available_levels())


def samples() -> Array:
    rng = np.random.default_rng(0)
    return rng.integers(-128, 128, (SAMPLES, 5, 5, 4)).astype(np.int8)


@pytest.mark.parametrize("level", LEVELS)
def test_together_as_alone(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", level)
    graph, x = read_tflite(residual()).main, samples()
    assert 1 < steps_at_once(graph) < SAMPLES
    together = emulate(graph, PROFILE, [x], all_tensors=True)
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    for sample in range(0, SAMPLES, 13):
        alone = emulate(graph, PROFILE, [x[sample : sample + 1]], all_tensors=True)
        assert alone.tensors.keys() == together.tensors.keys()
        for index, tensor in alone.tensors.items():
            np.testing.assert_array_equal(together.tensors[index][sample : sample + 1], tensor)


def test_an_emulator_runs_again_without_binding_again() -> None:
    graph, x = read_tflite(residual()).main, samples()
    emulator = Emulator(graph, PROFILE)
    first, again = emulator.run([x]), emulator.run([x], all_tensors=True)
    assert len(again.tensors) == len(graph.nodes) + 1
    assert first.promises == again.promises
    np.testing.assert_array_equal(first.outputs[0], again.outputs[0])


def test_state_runs_one_step_at_a_time() -> None:
    state = Tensor(0, "state", (4,), "int8", variable=True)
    assert steps_at_once(Graph("g", (state,), (), (), ())) == 1


def test_constants_alone_are_the_same_for_every_step() -> None:
    unit = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64))
    x, total = (Tensor(i, name, (1, 2), "int8", unit) for i, name in ((0, "x"), (3, "total")))
    one = Tensor(1, "one", (1, 2), "int8", unit, np.ones((1, 2), np.int8))
    two = Tensor(2, "two", (1, 2), "int8", unit)
    nodes = (Node(0, "ADD", (1, 1), (2,)), Node(1, "ADD", (0, 2), (3,)))
    graph = Graph("g", (x, one, two, total), nodes, (0,), (3,))
    given = np.arange(10, dtype=np.int8).reshape(5, 2)
    (got,) = emulate(graph, PROFILE, [given]).outputs
    np.testing.assert_array_equal(got, given + 2)


def test_results_of_different_shapes_are_not_stacked() -> None:
    run = each_step(lambda values: (np.zeros(int(values[0] or 0)),), [True])
    with pytest.raises(Ragged):
        run([np.array([1, 2])])


def test_a_graph_whose_shapes_follow_its_values_runs_step_by_step() -> None:
    x = Tensor(0, "x", (4,), "int8")
    begin = Tensor(1, "begin", (1,), "int32", data=np.zeros(1, np.int32))
    size = Tensor(2, "size", (1,), "int32")
    graph = Graph(
        "g",
        (x, begin, size, Tensor(3, "y", (4,), "int8")),
        (Node(0, "SLICE", (0, 1, 2), (3,)),),
        (0, 2),
        (3,),
    )
    given = np.arange(8, dtype=np.int8)
    (got,) = emulate(graph, PROFILE, [given, np.array([1, 3], np.int32)]).outputs
    np.testing.assert_array_equal(got, [0, 4, 5, 6])
