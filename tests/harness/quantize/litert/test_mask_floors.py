"""Masks in graphs of floats: every way of making one gets a floor, and nothing else changes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.emulator.graph import Graph, Node, Tensor
from harness.quantize.litert.mask_floors import Floors, find_floors

Array = npt.NDArray[Any]

SCORES = np.asarray([[1.0, -2.0, 3.0, 0.5], [-3.0, 2.0, 0.0, 1.0]], np.float32)
HIDDEN = np.asarray([[False, True, False, False], [True, True, False, False]])
RANGES = {"scores": (-3.0, 3.0), "kept": (0.0, 1.0), "far": (-1e9, 0.0), "out": (-3.0, 3.0)}
GAP = 14 + np.log(4)


def graph(
    nodes: Sequence[tuple[str, Sequence[str], str]],
    constants: dict[str, Any],
    sink: str = "SOFTMAX",
) -> Graph:
    """A graph over named tensors; `scores`, `kept`, `hidden` and `mask` are its inputs."""
    given = ("scores", "kept", "hidden", "mask")
    names = [*given, *constants, *(made for _, _, made in nodes), "probabilities"]
    place = {name: index for index, name in enumerate(names)}
    tensors = tuple(
        Tensor(
            index,
            name,
            (2, 4),
            "bool" if name == "hidden" else "float32",
            data=np.asarray(constants[name], np.float32) if name in constants else None,
        )
        for index, name in enumerate(names)
    )
    steps = [*nodes, (sink, (nodes[-1][2],), "probabilities")]
    made = tuple(
        Node(index, op, tuple(place[x] for x in inputs), (place[y],))
        for index, (op, inputs, y) in enumerate(steps)
    )
    return Graph("main", tensors, made, (0, 1, 2, 3), (place["probabilities"],))


def named(graph_: Graph, floors: Floors) -> dict[str, float]:
    """The floors of constants, by name."""
    return {graph_.tensors[index].name: floor.value for index, floor in floors.constants.items()}


@pytest.mark.parametrize("least", [-np.inf, -1e9, np.finfo(np.float32).min, -100.0])
def test_a_masked_fill_is_as_low_as_the_softmax_needs(least: float) -> None:
    one = graph([("SELECT_V2", ("hidden", "least", "scores"), "out")], {"least": least})
    floors = find_floors(one, RANGES)
    assert named(one, floors) == {"least": pytest.approx(-3 - GAP)}
    assert list(floors.lowest.values()) == [pytest.approx(-3 - GAP)]

    def softmax(x: Array) -> Array:
        e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
        return np.asarray(e / e.sum(-1, keepdims=True))

    floor = next(iter(floors.constants.values()))
    before = softmax(np.where(HIDDEN, np.float32(least), SCORES))
    after = softmax(np.where(HIDDEN, floor.applied(np.asarray(least, np.float32)), SCORES))
    assert np.abs(before - after).max() < 1e-6


@pytest.mark.parametrize("least", [-np.inf, -1e4])
def test_an_added_mask_stays_below_whatever_it_is_added_to(least: float) -> None:
    one = graph([("ADD", ("scores", "added"), "out")], {"added": np.where(HIDDEN, least, 0.0)})
    floors = find_floors(one, RANGES)
    assert named(one, floors) == {"added": pytest.approx(-6 - GAP)}
    assert list(floors.lowest.values()) == [pytest.approx(-3 - GAP)]


def test_a_bias_in_the_mask_keeps_its_values() -> None:
    bias = np.asarray([[0.0, -1.5, -8.0, -np.inf]])
    one = graph([("ADD", ("scores", "added"), "out")], {"added": bias})
    floors = find_floors(one, RANGES)
    floor = next(iter(floors.constants.values()))
    assert np.array_equal(floor.applied(bias)[:, :3], bias[:, :3])
    assert floor.value == pytest.approx(-14 - GAP)


@pytest.mark.parametrize(("op", "factor"), [("ADD", -1e9), ("SUB", 1e9)])
def test_a_factor_that_makes_a_mask_shrinks(op: str, factor: float) -> None:
    one = graph(
        [("MUL", ("kept", "factor"), "far"), (op, ("scores", "far"), "out")], {"factor": factor}
    )
    far = (min(factor, 0.0), max(factor, 0.0))
    (value,) = find_floors(one, RANGES | {"far": far}).factors.values()
    assert value == pytest.approx(np.sign(factor) * (6 + GAP))


def test_scores_scaled_after_the_mask() -> None:
    one = graph(
        [
            ("SELECT_V2", ("hidden", "least", "scores"), "filled"),
            ("MUL", ("filled", "factor"), "out"),
        ],
        {"least": -np.inf, "factor": 0.5},
    )
    assert named(one, find_floors(one, RANGES)) == {"least": pytest.approx((-1.5 - GAP) / 0.5)}


def test_a_mask_among_the_inputs() -> None:
    one = graph([("ADD", ("scores", "mask"), "out")], {})
    given = {3: np.where(HIDDEN, np.float32(-np.inf), np.float32(0))}
    (floor,) = find_floors(one, RANGES, given).inputs.values()
    assert floor.applied(given[3]).min() == pytest.approx(-6 - GAP)


def test_the_logarithm_of_a_zero_gets_its_range() -> None:
    one = graph([("LOG", ("kept",), "far"), ("ADD", ("scores", "far"), "out")], {})
    floors = find_floors(one, RANGES | {"far": (0.0, 0.0)})
    by_name = {one.tensors[index].name: value for index, value in floors.lowest.items()}
    assert by_name == {"far": pytest.approx(-6 - GAP), "out": pytest.approx(-3 - GAP)}


def test_a_greatest_of_masked_values_begins_at_the_lowest_that_is_not() -> None:
    one = graph(
        [("SELECT_V2", ("hidden", "least", "scores"), "out")], {"least": -1e9}, "REDUCE_MAX"
    )
    assert named(one, find_floors(one, RANGES)) == {"least": -3.0}


@pytest.mark.parametrize("sink", ["SOFTMAX", "REDUCE_MAX", "ABS"])
def test_what_is_no_mask_stays(sink: str) -> None:
    one = graph([("ADD", ("scores", "bias"), "out")], {"bias": [[0.0, -5.0, 2.0, 9.0]]}, sink)
    assert not find_floors(one, RANGES)
    far = graph([("ADD", ("scores", "bias"), "out")], {"bias": [[0.0, -5e3, 2.0, 9.0]]}, "ABS")
    assert not find_floors(far, RANGES)
