"""Branches, loops, variables, signatures and open shapes, against the runtime; and their limits."""

import platform

import numpy as np
import pytest

from harness.emulator.control import MAX_CALLED_NODES, MAX_DEPTH, NODES_PER_BINDING
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import Emulator, emulate
from harness.emulator.profiles import get_profile
from harness.emulator.shapes import with_batch
from harness.errors import ModelError, UsageError
from tests.oracle import control
from tests.oracle.build import Array

KERNELS = {"litert-ref": "reference"}
if platform.machine() == "x86_64":
    KERNELS |= {"litert-builtin-x86": "builtin", "litert-xnnpack-x86": "xnnpack"}
REF = get_profile("litert-ref")


def samples(*shape: int) -> Array:
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("profile", KERNELS)
def test_a_branch_is_chosen_by_its_condition(profile: str) -> None:
    x, conditions = samples(6, 1, 5), np.array([1, 0, 0, 1, 0, 1], np.bool_)[:, None]
    calls = list(zip(conditions, x, strict=True))
    expected = control.invoke(control.branches(), calls, KERNELS[profile])
    graph = read_tflite(control.branches()).main
    run = emulate(graph, get_profile(profile), [conditions.reshape(-1), x.reshape(6, 5)])
    assert run.promises[graph.outputs[0]] == "exact"
    np.testing.assert_array_equal(run.outputs[0], np.concatenate([y for (y,) in expected]))


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("make", [control.loop, control.growing])
def test_a_loop_runs_as_often_as_its_condition_holds(profile: str, make: object) -> None:
    assert callable(make)
    model, shape = make(), (1, 5) if make is control.loop else (2,)
    graph = read_tflite(model).main
    for rounds in (0, 1, 3):
        limit, x = np.array(rounds, np.int32), samples(*shape)
        (expected,) = control.invoke(model, [[limit, x]], KERNELS[profile])
        run = emulate(graph, get_profile(profile), [limit, x])
        for y, want, index in zip(run.outputs, expected, graph.outputs, strict=True):
            assert y is not None
            np.testing.assert_array_equal(y.reshape(want.shape), want)
            assert run.promises[index] == "exact"


@pytest.mark.parametrize("profile", KERNELS)
def test_a_variable_keeps_its_value_from_call_to_call(profile: str) -> None:
    model, x = control.running_sum(), samples(6, 1, 5)
    expected = control.invoke(model, [[row] for row in x], KERNELS[profile])
    emulator = Emulator(read_tflite(model).main, get_profile(profile))
    got = [emulator.run([x[:3].reshape(3, 5)]), emulator.run([x[3:].reshape(3, 5)])]
    outputs = [y for run in got for y in run.outputs[:1] if y is not None]
    np.testing.assert_array_equal(np.concatenate(outputs), np.concatenate([y for (y,) in expected]))
    assert got[0].promises[read_tflite(model).main.outputs[0]] == "exact"


def test_signatures_are_ways_to_call_a_model() -> None:
    model = read_tflite(control.branches())
    x = samples(2, 5)
    graph = model.entry("double")
    (doubled,) = emulate(graph, REF, [x]).outputs
    (branch,) = emulate(model.entry("serve"), REF, [np.ones(2, np.bool_), x]).outputs
    np.testing.assert_array_equal(doubled, branch)
    with pytest.raises(UsageError, match="'serve', 'double'"):
        model.entry("train")


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("shape", [(1, 4, 6, 3), (3, 4, 5, 3), (8, 1, 1, 3)])
def test_a_resized_input_resizes_the_graph(profile: str, shape: tuple[int, ...]) -> None:
    model, x = control.open_shapes(), samples(*shape)
    ((expected,),) = control.invoke(model, [[x]], KERNELS[profile])
    graph = with_batch(read_tflite(model).main, shape[0])
    run = emulate(graph, get_profile(profile), [x])
    np.testing.assert_array_equal(run.outputs[0], expected)
    assert run.promises[graph.outputs[0]] == "exact"


def test_the_first_axis_counts_batches_of_the_graph() -> None:
    graph, x = read_tflite(control.open_shapes()).main, samples(6, 4, 5, 3)
    each = [emulate(graph, REF, [x[i : i + 2]]).outputs[0] for i in (0, 2, 4)]
    together = emulate(with_batch(graph, 2), REF, [x]).outputs[0]
    np.testing.assert_array_equal(together, np.concatenate([y for y in each if y is not None]))


def test_what_is_not_open_is_not_resized() -> None:
    closed = read_tflite(control.open_shapes((1, 4, 4, 3), (0,))).main
    with pytest.raises(ModelError, match=r"\[n \* 1, 4, 4, 3\]"):
        emulate(closed, REF, [samples(1, 5, 4, 3)])
    fixed = read_tflite(control.open_shapes((2, 4, 4, 3), (1, 2))).main
    with pytest.raises(ModelError, match="fixed batch"):
        with_batch(fixed, 3)


def test_an_endless_loop_ends_in_a_model_error() -> None:
    graph = read_tflite(control.loop(endless=True)).main
    with pytest.raises(ModelError, match=str(MAX_CALLED_NODES)):
        emulate(graph, REF, [np.array(1, np.int32), samples(1, 5)])


def test_a_loop_that_grows_ends_sooner() -> None:
    """Nodes are bound anew in each round, which takes far longer than running them."""
    graph = read_tflite(control.growing()).main
    rounds, nodes = 2000, 5
    assert rounds * nodes < MAX_CALLED_NODES < rounds * nodes * NODES_PER_BINDING
    with pytest.raises(ModelError, match=f"new shapes counted as {NODES_PER_BINDING}"):
        emulate(graph, REF, [np.array(rounds, np.int32), samples(2)])


def test_a_graph_that_calls_itself_ends_in_a_model_error() -> None:
    graph = read_tflite(control.circle()).main
    with pytest.raises(ModelError, match=f"nest deeper than {MAX_DEPTH}"):
        emulate(graph, REF, [np.ones(1, np.bool_), samples(4)])


@pytest.mark.parametrize("conditions", [(1, 0), (0, 1), (0, 0)])
def test_control_flow_promises_the_weakest_of_all_its_branches(conditions: tuple[int, int]) -> None:
    graph = read_tflite(control.float_branch()).main
    run = emulate(graph, REF, [np.array(conditions, np.bool_), samples(2, 5)], all_tensors=True)
    assert {run.promises[graph.outputs[0]], run.promises[graph.nodes[0].outputs[0]]} == {"float"}


def test_a_step_through_a_float_branch_weakens_what_is_made_of_it_in_all_steps() -> None:
    emulator = Emulator(read_tflite(control.float_branch()).main, REF)
    promises = [
        emulator.run([np.array([condition], np.bool_), samples(1, 5)]).promises[3]
        for condition in (0, 1, 0)
    ]
    assert promises == ["float"] * 3


def test_branches_and_loops_of_integers_that_never_ran_stay_exact() -> None:
    for content in (control.branches(), control.loop()):
        graph = read_tflite(content).main
        condition = graph.tensors[graph.inputs[0]].dtype
        run = emulate(graph, REF, [np.zeros(1, condition), samples(1, 5)])
        assert {run.promises[index] for index in graph.outputs} == {"exact"}
