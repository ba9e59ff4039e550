"""Chains of layers: the same integers as node by node, and refused where they do not fit."""

import numpy as np
import pytest

from harness.emulator import core
from harness.emulator.core import _core
from harness.emulator.core.chains import find_chains
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from tests.oracle.build import Builder, options, per_tensor

BATCH = 5


def five_layers(*, shows_the_third: bool = False) -> Graph:
    """Two convolutions, a depthwise one and two fully connected layers, one after the other."""
    rng = np.random.default_rng(1)
    builder = Builder()
    scale = per_tensor(0.05, 3)

    def weights(shape: list[int]) -> tuple[int, int]:
        channels = shape[3] if shape[0] == 1 and len(shape) == 4 else shape[0]
        w = builder.constant(rng.integers(-127, 128, shape), "int8", per_tensor(0.01))
        bias = rng.integers(-500, 500, channels)
        return w, builder.constant(bias, "int32", per_tensor(0.0005))

    x = builder.tensor([1, 6, 6, 3], "int8", scale)
    images = [x, *(builder.tensor([1, 6, 6, 9], "int8", scale) for _ in range(3))]
    kinds = ("Conv2D", "Conv2D", "DepthwiseConv2D")
    shapes = ([9, 3, 3, 3], [9, 1, 1, 9], [1, 3, 3, 9])
    for position, (kind, shape) in enumerate(zip(kinds, shapes, strict=True)):
        op = {"Conv2D": "CONV_2D", "DepthwiseConv2D": "DEPTHWISE_CONV_2D"}[kind]
        made = options(kind, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
        builder.op(op, [images[position], *weights(shape)], [images[position + 1]], made)
    hidden, y = (builder.tensor([1, units], "int8", scale) for units in (11, 4))
    builder.op(
        "FULLY_CONNECTED", [images[3], *weights([11, 324])], [hidden], options("FullyConnected")
    )
    builder.op("FULLY_CONNECTED", [hidden, *weights([4, 11])], [y], options("FullyConnected"))
    return read_tflite(builder.finish([x], [images[3], y] if shows_the_third else [y])).main


def samples(count: int = BATCH) -> list[Array]:
    return [np.random.default_rng(count).integers(-128, 128, (count, 6, 6, 3)).astype(np.int8)]


def emulator_of(graph: Graph) -> Emulator:
    return Emulator(graph, get_profile("litert-xnnpack-x86"))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> dict[int, Array]:
    """Every tensor as the definitions compute it, node by node."""
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    tensors = emulator_of(five_layers()).run(samples(), all_tensors=True).tensors
    monkeypatch.delenv("EDGEFARM_CORE")
    return tensors


@pytest.mark.parametrize("shows_the_third", [False, True])
def test_a_chain_gives_what_its_nodes_give(
    alone: dict[int, Array], *, shows_the_third: bool
) -> None:
    graph = five_layers(shows_the_third=shows_the_third)
    emulator = emulator_of(graph)
    for _ in range(3):  # the first run binds the nodes, the others run chains
        emulation = emulator.run(samples())
        assert len(emulation.node_ns) == 5
        assert all(ns > 0 for ns in emulation.node_ns)
        for index, y in zip(graph.outputs, emulation.outputs, strict=True):
            np.testing.assert_array_equal(y, alone[index])


def test_every_tensor_can_be_had_after_a_chain_ran(alone: dict[int, Array]) -> None:
    emulator = emulator_of(five_layers())
    emulator.run(samples())
    emulator.run(samples())
    for index, x in emulator.run(samples(), all_tensors=True).tensors.items():
        np.testing.assert_array_equal(x, alone[index])
    again = emulator.run(samples())
    np.testing.assert_array_equal(again.outputs[0], alone[max(alone)])


def test_chains_end_where_a_tensor_is_wanted() -> None:
    graph = five_layers()
    emulator = emulator_of(graph)
    emulator.run(samples())
    inner = graph.nodes[2].outputs[0]
    whole = find_chains(graph, emulator._bound, set(graph.outputs))
    assert {at: chain.length for at, chain in whole.items()} == {0: 5}
    cut = find_chains(graph, emulator._bound, {*graph.outputs, inner})
    assert {at: chain.length for at, chain in cut.items()} == {0: 3, 3: 2}


def test_without_the_core_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    assert core.join_nodes(five_layers(), {}, set()) == {}


def test_the_border_refuses_what_does_not_fit() -> None:
    emulator = emulator_of(five_layers())
    emulator.run(samples())
    runs = [emulator._bound[node][1] for node in range(5)]
    kernels = [run.layer.kernels for run in runs]
    with pytest.raises(ValueError, match="does not take what the one before it gives"):
        _core.Chain([kernels[0], kernels[4]])
    with pytest.raises(ValueError, match="at least one link"):
        _core.Chain([])
    with pytest.raises(ValueError, match="at least one kernel"):
        _core.Chain([kernels[0], []])
    chain = _core.Chain(kernels)
    x, y, ns = np.zeros((2, 108), np.int8), np.zeros((2, 4), np.int8), np.zeros(5, np.int64)
    chain(x, y, 1, ns)
    for wrong in ((x[:1], y, ns), (x, y.view(np.uint8), ns), (x, y, ns[:4]), (x.view("u1"), y, ns)):
        with pytest.raises(ValueError, match=r"images|signedness|time"):
            chain(wrong[0], wrong[1], 1, wrong[2])
