"""Plans: the same integers as node by node, whatever the threads; misfits are refused."""

import numpy as np
import pytest

from harness.emulator import core
from harness.emulator.core import _core
from harness.emulator.core.plans import find_plans
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from tests.oracle.build import Builder, options, per_tensor

SCALE = per_tensor(0.05, 3)


class Network:
    """A graph under construction; every layer takes tensors and gives one."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.rng = np.random.default_rng(1)

    def image(self, shape: list[int]) -> int:
        return self.builder.tensor(shape, "int8", SCALE)

    def weights(self, shape: list[int], channels: int) -> tuple[int, int]:
        w = self.builder.constant(self.rng.integers(-127, 128, shape), "int8", per_tensor(0.01))
        bias = self.rng.integers(-500, 500, channels)
        return w, self.builder.constant(bias, "int32", per_tensor(0.0005))

    def convolution(self, x: int, shape: list[int], output: list[int]) -> int:
        depthwise = shape[0] == 1 and shape[1] > 1 and output[3] == shape[3]
        kind = "DepthwiseConv2D" if depthwise else "Conv2D"
        op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        made = options(kind, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
        constants = self.weights(shape, output[3])
        return self.op(op, [x, *constants], output, made)

    def op(self, op: str, inputs: list[int], output: list[int], made: object = None) -> int:
        y = self.image(output)
        self.builder.op(op, inputs, [y], made)
        return y


def five_layers(*, shows_the_third: bool = False) -> Graph:
    """Two convolutions, a depthwise one and two fully connected layers, one after the other."""
    net = Network()
    x = net.image([1, 6, 6, 3])
    y = net.convolution(x, [9, 3, 3, 3], [1, 6, 6, 9])
    y = net.convolution(y, [9, 1, 1, 9], [1, 6, 6, 9])
    third = net.convolution(y, [1, 3, 3, 9], [1, 6, 6, 9])
    dense = options("FullyConnected")
    y = net.op("FULLY_CONNECTED", [third, *net.weights([11, 324], 11)], [1, 11], dense)
    y = net.op("FULLY_CONNECTED", [y, *net.weights([4, 11], 4)], [1, 4], dense)
    return read_tflite(net.builder.finish([x], [third, y] if shows_the_third else [y])).main


def residual_network() -> Graph:
    """Branches that meet in additions, a pool, a table, and a change of shape before the end."""
    net = Network()
    x = net.image([1, 6, 6, 8])
    a = net.convolution(x, [8, 1, 1, 8], [1, 6, 6, 8])
    b = net.convolution(a, [1, 3, 3, 8], [1, 6, 6, 8])
    added = net.op("ADD", [a, b], [1, 6, 6, 8], options("Add"))
    again = net.op("ADD", [added, x], [1, 6, 6, 8], options("Add"))
    halves = options("Pool2D", strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    pooled = net.op("MAX_POOL_2D", [again], [1, 3, 3, 8], halves)
    swished = net.op("HARD_SWISH", [pooled], [1, 3, 3, 8])
    sizes = net.builder.constant(np.array([1, 72]), "int32", None)
    flat = net.op("RESHAPE", [swished, sizes], [1, 72], options("Reshape"))
    constants = net.weights([5, 72], 5)
    y = net.op("FULLY_CONNECTED", [flat, *constants], [1, 5], options("FullyConnected"))
    return read_tflite(net.builder.finish([x], [y])).main


def rows_network(dtype: str = "int8") -> Graph:
    """Two fully connected layers on six rows of a step, which two images' pixels are."""
    net = Network()
    quantized = SCALE if dtype == "int8" else None
    x, middle, y = (
        net.builder.tensor(shape, dtype, quantized) for shape in ([2, 3, 7], [2, 3, 33], [2, 3, 5])
    )
    keeps = options("FullyConnected", keepNumDims=True)
    for source, target, shape in ((x, middle, [33, 7]), (middle, y, [5, 33])):
        w = net.builder.constant(net.rng.integers(-127, 128, shape), "int8", per_tensor(0.01))
        net.builder.op("FULLY_CONNECTED", [source, w, -1], [target], keeps, version=9)
    return read_tflite(net.builder.finish([x], [y])).main


def samples(graph: Graph, count: int) -> list[Array]:
    shape = graph.tensors[graph.inputs[0]].shape
    drawn = np.random.default_rng(count).integers(-128, 128, (count, *shape[1:]))
    return [drawn.astype(np.int8)]


def emulator_of(graph: Graph) -> Emulator:
    return Emulator(graph, get_profile("litert-xnnpack-x86"))


def defined(graph: Graph, count: int, monkeypatch: pytest.MonkeyPatch) -> dict[int, Array]:
    """Every tensor as the definitions compute it, node by node."""
    with monkeypatch.context() as patch:
        patch.setenv("EDGEFARM_CORE", "none")
        return emulator_of(graph).run(samples(graph, count), all_tensors=True).tensors


@pytest.mark.parametrize("shows_the_third", [False, True])
def test_a_plan_gives_what_its_nodes_give(
    monkeypatch: pytest.MonkeyPatch, *, shows_the_third: bool
) -> None:
    graph = five_layers(shows_the_third=shows_the_third)
    alone = defined(graph, 5, monkeypatch)
    emulator = emulator_of(graph)
    for _ in range(3):  # the first run binds the nodes, the others run plans
        emulation = emulator.run(samples(graph, 5))
        assert len(emulation.node_ns) == 5
        assert all(ns > 0 for ns in emulation.node_ns)
        for index, y in zip(graph.outputs, emulation.outputs, strict=True):
            np.testing.assert_array_equal(y, alone[index])


@pytest.mark.parametrize("threads", ["1", "2", "3"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 33])
def test_threads_and_groups_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, threads: str, count: int
) -> None:
    graph = residual_network()
    alone = defined(graph, count, monkeypatch)
    monkeypatch.setenv("EDGEFARM_THREADS", threads)
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 1))
    emulation = emulator.run(samples(graph, count))
    assert set(find_plans(graph, emulator._bound, set(graph.outputs))) == {0}
    np.testing.assert_array_equal(emulation.outputs[0], alone[graph.outputs[0]])
    everything = emulator.run(samples(graph, count), all_tensors=True).tensors
    for index, x in everything.items():
        np.testing.assert_array_equal(x, alone[index])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_layers_on_several_rows_of_a_step_are_a_plan(
    monkeypatch: pytest.MonkeyPatch, dtype: str, threads: str, steps: int
) -> None:
    graph = rows_network(dtype)
    shape = (2 * steps, 3, 7)
    x = np.random.default_rng(1).integers(-128, 128, shape).astype(dtype)
    monkeypatch.setenv("EDGEFARM_THREADS", threads)
    emulator = emulator_of(graph)
    emulator.run([x])
    assert find_plans(graph, emulator._bound, set(graph.outputs))[0].length == 2
    got = emulator.run([x]).outputs[0]
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    np.testing.assert_array_equal(got, emulator_of(graph).run([x]).outputs[0])


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_value_that_a_plan_does_not_define_leaves_its_node_unknown(
    monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    monkeypatch.setenv("EDGEFARM_THREADS", threads)
    graph = rows_network("float32")
    emulator, x = emulator_of(graph), np.ones((8, 3, 7), np.float32)
    whole = emulator.run([x]).outputs[0]
    x[5, 1, 2] = np.nan
    emulation = emulator.run([x])
    assert emulation.outputs == (None,)
    assert [u.node for u in emulation.unknown] == [0]
    assert "NaN" in emulation.unknown[0].reason
    x[5, 1, 2] = 1
    np.testing.assert_array_equal(emulator_of(graph).run([x]).outputs[0], whole)


def test_outputs_are_not_overwritten_by_the_next_run() -> None:
    graph = residual_network()
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 4))
    first = emulator.run(samples(graph, 4)).outputs[0]
    kept = np.array(first)
    emulator.run([-1 - samples(graph, 4)[0]])
    np.testing.assert_array_equal(first, kept)


def test_every_tensor_can_be_had_after_a_plan_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = five_layers()
    alone = defined(graph, 5, monkeypatch)
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 5))
    emulator.run(samples(graph, 5))
    for index, x in emulator.run(samples(graph, 5), all_tensors=True).tensors.items():
        np.testing.assert_array_equal(x, alone[index])
    again = emulator.run(samples(graph, 5))
    np.testing.assert_array_equal(again.outputs[0], alone[max(alone)])


def test_plans_hand_out_what_is_wanted() -> None:
    graph = five_layers()
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 5))
    inner = graph.nodes[2].outputs[0]
    plan = find_plans(graph, emulator._bound, {*graph.outputs, inner})[0]
    assert plan.length == 5
    made = plan.run(samples(graph, 5), np.zeros(5, np.int64))
    assert {index: x.shape for index, x in made.items()} == {
        inner: (5, 1, 6, 6, 9),
        graph.outputs[0]: (5, 1, 4),
    }


def test_the_arena_is_reused() -> None:
    """Three images of 324 bytes, of which two live at a time, and 11 units beside one."""
    graph = five_layers()
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 1))
    plan = find_plans(graph, emulator._bound, set(graph.outputs))[0]
    assert plan._run.arena_bytes == 2 * 384


def test_without_the_core_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    assert core.plan_nodes(five_layers(), {}, set()) == {}


def test_the_border_refuses_what_does_not_fit() -> None:
    graph = five_layers()
    emulator = emulator_of(graph)
    emulator.run(samples(graph, 1))
    kernels = [emulator._bound[node][1].kernel.kernels for node in range(5)]
    first, last = (kernels[0], [0], 1), (kernels[4], [1], 2)
    add = (_core.make_addition("portable", [1, 1, 1, 0, 0, 0, -128, 127], False, False),)
    for links, sizes, takes, gives, why in (
        ([], [108], [0], [0], "at least one link"),
        ([([], [0], 1)], [108, 324], [0], [1], "at least one kernel"),
        ([first, last], [108, 324, 4], [0], [2], "what the one before it gives"),
        ([first], [108, 325], [0], [1], "what its slot holds"),
        ([first], [108, 324], [], [1], "filled before it"),
        ([first], [108, 324], [0], [0], "gives what a link fills"),
        ([first], [108, 324], [0], [5], "gives what a link fills"),
        ([(kernels[0], [0], 9)], [108, 324], [0], [1], "slot of its own"),
        ([(kernels[0], [0], 0)], [108], [0], [0], "slot of its own"),
        ([(add, [0], 1)], [8, 8], [0], [1], "another number of inputs"),
        ([(add, [0, 1], 2)], [8, 9, 8], [0, 1], [2], "what the one before it gives"),
        ([first], [108, 0], [0], [1], "size"),
    ):
        with pytest.raises(ValueError, match=why):
            _core.Plan(links, sizes, takes, gives)
    plan = _core.Plan([first], [108, 324], [0], [1])
    x, y, ns = np.zeros((2, 108), np.int8), np.zeros((2, 324), np.int8), np.zeros(1, np.int64)
    plan([x], [y], 1, ns)
    for inputs, outputs, times in (
        ([x[:1]], [y], ns),
        ([x], [y.view(np.uint8)], ns),
        ([x.view(np.uint8)], [y], ns),
        ([x], [y], ns[:0]),
        ([x, x], [y], ns),
        ([x[:, :107].copy()], [y], ns),
    ):
        with pytest.raises(ValueError, match=r"items|another type|time|each slot"):
            plan(inputs, outputs, 1, times)
