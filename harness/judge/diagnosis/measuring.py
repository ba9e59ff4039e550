"""What each layer's rounding costs at the outputs of the model: alone, in place, and in other
forms, which tell the cause. Isolated only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.host.progress import Progress
from harness.judge.diagnosis.layers import CLAMPS, FLAT, is_move, operator
from harness.judge.diagnosis.outputs import Difference
from harness.judge.diagnosis.running import Form, Simulation

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

    Batch = tuple[torch.Tensor, ...]

_BUDGET_S = 45.0
_LEAST_SAMPLES, _MOST_SAMPLES = 4, 64
_MAC_S, _VALUE_S, _NODE_S = 6e-11, 4e-9, 2e-5
"""What a multiplication, a value and an operator take, about: the number of samples must not depend
on how busy this host is."""


@dataclass
class Measured:
    """Of one layer.

    Attributes:
        alone, in_place: at the outputs of the model.
        added: at the layer's own outputs.
        forms: alone, in other forms.
        counts: of its quantized values: all, those beyond their range, saturated ones, and all
            that could be saturated.
        errors: squared error by channel of its output, relative to the channel's own square.
    """

    alone: Difference = field(default_factory=Difference)
    in_place: Difference = field(default_factory=Difference)
    added: Difference = field(default_factory=Difference)
    forms: dict[Form, Difference] = field(default_factory=dict)
    counts: "np.ndarray[Any, np.dtype[np.float64]]" = field(default_factory=lambda: np.zeros(4))
    errors: "np.ndarray[Any, np.dtype[np.float64]] | None" = None


@dataclass
class Costs:
    """Of all layers.

    Attributes:
        layers: in the simulation's order.
        all: everything quantized, against float.
    """

    layers: list[Measured]
    all: Difference = field(default_factory=Difference)


def samples_to_measure(simulation: Simulation, batch: "Batch", count: int) -> list[int]:
    """Which invocations to measure, spread over all: as many as take about `_BUDGET_S`."""
    each = _seconds(simulation, batch)
    few = int(min(max(_BUDGET_S / max(each, 1e-9), _LEAST_SAMPLES), _MOST_SAMPLES, count))
    return sorted({int(x) for x in np.linspace(0, count - 1, few).round()})


def measure(simulation: Simulation, batches: "Sequence[Batch]", progress: Progress) -> Costs:
    """What each layer costs alone and in place."""
    layers = simulation.layers
    numbers = range(len(layers.names))
    everything = frozenset(numbers)
    reached = [simulation.reached(number) for number in numbers]
    exits = [_exits(simulation, number) for number in numbers]
    costs = Costs([Measured() for _ in numbers])
    shifts: dict[Node, list[torch.Tensor]] = {}
    done, steps = 0, len(batches) * len(layers.names)
    for batch in batches:
        in_float = simulation.run({}, batch, frozenset())
        rounded = simulation.run({}, batch, everything)
        reference = _arrays(simulation.outputs(in_float))
        costs.all.add(_arrays(simulation.outputs(rounded)), reference)
        for number in numbers:
            progress("measuring layers", done, steps)
            done += 1
            one = costs.layers[number]

            def see(node: "Node", made: "torch.Tensor", number: int = number) -> None:
                if layers.owner[node] == number:
                    shifts.setdefault(node, []).append(_shift(simulation, node, made, in_float))  # noqa: B023

            alone = simulation.run(dict(in_float), batch, {number}, reached[number], see=see)
            one.alone.add(_arrays(simulation.outputs(alone)), reference)
            others = everything - {number}
            in_place = simulation.run(dict(rounded), batch, others, reached[number])
            one.in_place.add(_arrays(simulation.outputs(in_place)), reference)
            _count(simulation, number, one, in_float)
            _add_own(simulation, one, exits[number], alone, in_float)
    for node, found in shifts.items():
        simulation.shifts[node] = sum(found[1:], found[0]) / len(found)
    return costs


def measure_forms(
    simulation: Simulation,
    costs: Costs,
    wanted: "dict[int, tuple[Form, ...]]",
    batches: "Sequence[Batch]",
    progress: Progress,
) -> None:
    """What some layers cost alone in other forms, into their `Measured.forms`."""
    done, steps = 0, len(batches) * len(wanted)
    reached = {number: simulation.reached(number) for number in wanted}
    for batch in batches:
        in_float = simulation.run({}, batch, frozenset())
        reference = _arrays(simulation.outputs(in_float))
        for number, forms in wanted.items():
            progress("looking for causes", done, steps)
            done += 1
            for form in forms:
                values = simulation.run(dict(in_float), batch, {number}, reached[number], form=form)
                found = costs.layers[number].forms.setdefault(form, Difference())
                found.add(_arrays(simulation.outputs(values)), reference)


def quantized_nodes(simulation: Simulation, number: int) -> "list[Node]":
    """The values of a layer that become integers, where they are made or where they are taken."""
    integers, owner = simulation.integers, simulation.layers.owner
    taken = {x for some in integers.taken.values() for x in some}
    nodes = (*simulation.program.inputs, *simulation.program.steps)
    return [n for n in nodes if owner[n] == number and (n in integers.made or n in taken)]


def _exits(simulation: Simulation, number: int) -> "list[Node]":
    """A layer's own outputs: what others take of it, or the model returns."""
    inside = set(simulation.layers.nodes[number])
    found = []
    for node in quantized_nodes(simulation, number):
        users = [user for user in node.users if user not in inside or is_move(user)]
        if users:
            found.append(node)
    if not found and inside:
        last = [n for n in simulation.layers.nodes[number] if n in simulation.ranges]
        found = last[-1:]
    return found


def _add_own(
    simulation: Simulation,
    one: Measured,
    exits: "Sequence[Node]",
    alone: "dict[Node, Any]",
    in_float: "dict[Node, Any]",
) -> None:
    """A layer's own outputs, rounded, against float."""
    got, reference = [], []
    for node in exits:
        x = alone[node]
        if node not in simulation.integers.made and node in {
            taken for some in simulation.integers.taken.values() for taken in some
        }:
            x = simulation.rounded(node, x)
        got.append(x.numpy())
        reference.append(in_float[node].numpy())
    one.added.add(got, reference)
    if not exits:
        return
    axis = simulation.ranges[exits[-1]].axis
    apart, whole = (np.square(x) for x in (got[-1] - reference[-1], reference[-1]))
    if apart.ndim:
        rows = [np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).sum(1) for x in (apart, whole)]
        made = np.stack(rows).astype(np.float64)
        one.errors = made if one.errors is None else one.errors + made


def _count(simulation: Simulation, number: int, one: Measured, in_float: "dict[Node, Any]") -> None:
    """Count clipped and saturated values."""
    static = simulation.recipe.mode == "static"
    for node in quantized_nodes(simulation, number) if static else ():
        low, high = simulation.spans[node.name]
        x = in_float[node]
        step = (max(high, 0.0) - min(low, 0.0)) / 255
        beyond = (x > max(high, 0.0) + step / 2) | (x < min(low, 0.0) - step / 2)
        one.counts += [x.numel(), int((beyond & x.isfinite()).sum()), 0, 0]
    for node in simulation.layers.nodes[number]:
        name = str(node.target)
        if name in FLAT:
            x = in_float[node.all_input_nodes[0]]
            below, above = FLAT[name]
            flat = (x < -below) | (x > above)
        elif name in CLAMPS and (ends := _ends(node)) != (None, None):
            x = in_float[node]
            least, most = ends
            flat = x >= (float("inf") if most is None else most)
            if least is not None and least < 0:
                flat |= x <= least
        else:
            continue
        one.counts += [0, 0, int(flat.sum()), x.numel()]


def _ends(node: "Node") -> tuple[float | None, float | None]:
    """The least and greatest value of a clamp, as far as it has them."""
    op = operator(node)
    if op == "relu":
        return None, None
    if op == "relu6":
        return 0.0, 6.0
    least, most = (-1.0, 1.0) if op == "hardtanh" else (None, None)
    low = node.args[1] if len(node.args) > 1 else least
    high = node.args[2] if len(node.args) > 2 else most
    return _number(low), _number(high)


def _number(x: object) -> float | None:
    return float(x) if isinstance(x, int | float) else None


def _shift(
    simulation: Simulation, node: "Node", made: "torch.Tensor", in_float: "dict[Node, Any]"
) -> "torch.Tensor":
    """What rounded weights add to the mean of each channel of one sample."""
    axis = simulation.ranges[node].axis
    difference: torch.Tensor = made - in_float[node]
    axes = [x for x in range(difference.ndim) if x != axis]
    return difference.mean(axes) if axes else difference


def _seconds(simulation: Simulation, batch: "Batch") -> float:
    """About what one sample takes, over all layers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    values: dict[Node, Any] = {}
    with FlopCounterMode(display=False) as counter:
        simulation.run(values, batch, frozenset())
    macs = counter.get_total_flops() / 2
    weights = simulation.program.weights
    heavy = max(1, len(weights))
    each = {}
    for node, value in values.items():
        numbers = value.numel() if isinstance(value, torch.Tensor) else 0
        each[node] = numbers * _VALUE_S + _NODE_S
        each[node] += macs / heavy * _MAC_S if node in weights else 0.0
    parts = (
        sum(each.get(node, 0.0) for node in simulation.reached(number))
        for number in range(len(simulation.layers.names))
    )
    return 2 * sum(parts)


def _arrays(tensors: "Sequence[torch.Tensor]") -> list[Any]:
    return [x.numpy() for x in tensors]
