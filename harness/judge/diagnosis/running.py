"""Runs a program, or the part of it that a change reaches, with some layers rounded. Isolated
only.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.judge.diagnosis.integers import Integers
from harness.judge.diagnosis.layers import FLAT, Layers, scheme_of
from harness.judge.diagnosis.program import CONVOLUTIONS, Program
from harness.judge.diagnosis.ranges import Ranges
from harness.quantize.finite import Spans
from harness.quantize.float_model.fake_quantization import (
    round_activations,
    round_rows,
    round_weights,
)
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

    Values = dict[Node, Any]

See = Callable[["Node", "torch.Tensor"], None]


@dataclass(frozen=True)
class Form:
    """How layers are rounded: as the recipe says, or otherwise, to find out what would help.

    Attributes:
        weights, activations: whether they are rounded at all.
        weight_scales: as the recipe has them, or one for each output or input channel.
        apart: leave the largest weight of each channel as it is.
        corrected: take from each output channel what rounded weights add to its mean.
        scales: of activations: one, or one for each channel.
        span: the range of activations: as the recipe chooses it, or this share of all values.
    """

    weights: bool = True
    activations: bool = True
    weight_scales: Literal["recipe", "output", "input"] = "recipe"
    apart: bool = False
    corrected: bool = False
    scales: Literal["tensor", "channel"] = "tensor"
    span: float | None = None


PLAIN = Form()


@dataclass(frozen=True, eq=False)
class Simulation:
    """A program with all that is known of how a recipe rounds it.

    Attributes:
        ranges: of all float values, on the calibration samples.
        spans: least and greatest value that the integers of a node stand for, by its name.
        shifts: what rounded weights add to the mean of each output channel, by operator.
    """

    program: Program
    layers: Layers
    integers: Integers
    recipe: Recipe
    ranges: Ranges
    spans: Spans
    shifts: "dict[Node, torch.Tensor]" = field(default_factory=dict)
    _rounded: "dict[tuple[Node, Form], torch.Tensor]" = field(default_factory=dict)

    def reached(self, layer: int) -> "list[Node]":
        """All nodes that a layer's rounding changes, in execution order; inputs first."""
        marked = set(self.layers.nodes[layer])
        for node in self.program.steps:
            if not marked.isdisjoint(node.all_input_nodes):
                marked.add(node)
        return [n for n in (*self.program.inputs, *self.program.steps) if n in marked]

    def run(
        self,
        values: "Values",
        batch: "Sequence[torch.Tensor]",
        active: Set[int],
        nodes: "Sequence[Node] | None" = None,
        *,
        form: Form = PLAIN,
        see: See | None = None,
    ) -> "Values":
        """Compute nodes, all by default, into `values`.

        Args:
            values: of all nodes before; changed.
            batch: of the program's inputs.
            active: layers that are rounded.
            form: how.
            see: called with each operator whose weights are rounded and what it gave.
        """
        import torch
        from torch.fx.node import map_arg

        given = dict(zip(self.program.inputs, batch, strict=True))
        order = (*self.program.inputs, *self.program.steps) if nodes is None else nodes
        with torch.no_grad():
            for node in order:
                if node.op == "placeholder":
                    made: Any = given[node]
                else:

                    def taken(x: "Node", node: "Node" = node) -> Any:  # noqa: ANN401  any value
                        return self._taken(x, node, values, active, form)

                    args, kwargs = map_arg(node.args, taken), map_arg(node.kwargs, taken)
                    made = node.target(*args, **kwargs)
                    if see and node in self.integers.weights:
                        see(node, made)
                    made = self._corrected(node, made, active, form)
                if node in self.integers.made and self._rounds(node, active, form):
                    made = self.rounded(node, made, form)
                values[node] = made
        return values

    def outputs(self, values: "Values") -> "list[torch.Tensor]":
        """What the program returns."""
        return [
            self.program.constants[x] if x in self.program.constants else values[x]
            for x in self.program.outputs
        ]

    def rounded(
        self, node: "Node", x: "torch.Tensor", form: Form = PLAIN, *, of_samples: bool = False
    ) -> "torch.Tensor":
        """A node's value as integers hold it."""
        import torch

        bits = self._bits(node)
        if not x.numel() or node not in self.ranges:
            return x
        if self.recipe.mode == "dynamic" and form.scales == "tensor" and form.span is None:
            return round_rows(x, bits, of_samples=of_samples)
        seen = self.ranges[node]
        if form.scales == "channel" and x.ndim:
            shape = [1] * x.ndim
            shape[seen.axis] = -1
            return round_activations(x, seen.low.reshape(shape), seen.high.reshape(shape), bits)
        if form.span is None:
            low, high = (torch.tensor(bound) for bound in self.spans[node.name])
        else:
            span = 1.0 if str(node.target) in FLAT else form.span  # what it gives has its bounds
            low, high = seen.low.min() * span, seen.high.max() * span
        return round_activations(x, low, high, bits)

    def _bits(self, node: "Node") -> int:
        return scheme_of(node, self.recipe, self.program, self.layers).activation_bits or 8

    def _rounds(self, node: "Node", active: Set[int], form: Form) -> bool:
        return form.activations and self.layers.owner[node] in active

    def _taken(
        self, x: "Node", node: "Node", values: "Mapping[Node, Any]", active: Set[int], form: Form
    ) -> Any:  # noqa: ANN401  any value
        """What an operator takes for one of its arguments."""
        constants = self.program.constants
        if x in constants:
            weights = self.program.weights.get(node)
            if node in self.integers.weights and weights is not None and weights.node is x:
                on = form.weights and self.layers.owner[node] in active
                return self._weights(node, form) if on else constants[x]
            if x in self.integers.constants.get(node, ()) and self._rounds(node, active, form):
                value = constants[x]
                bits = self._bits(node)
                return round_activations(value, value.min(), value.max(), bits)
            return constants[x]
        if x in self.integers.taken.get(node, ()) and self._rounds(x, active, form):
            of_samples = str(node.target) in CONVOLUTIONS
            return self.rounded(x, values[x], form, of_samples=of_samples)
        return values[x]

    def _weights(self, node: "Node", form: Form) -> "torch.Tensor":
        key = (node, replace(PLAIN, weight_scales=form.weight_scales, apart=form.apart))
        if key not in self._rounded:
            held = self.program.weights[node]
            x = self.program.constants[held.node]
            scheme = scheme_of(node, self.recipe, self.program, self.layers)
            kept = (held.axis,) if scheme.weight_granularity == "channel" else ()
            if form.weight_scales == "output":
                kept = (held.axis,)
            if form.weight_scales == "input":
                kept = (input_axis(held.axis, x.ndim),)
            apart = _largest(x, held.axis) if form.apart else None
            self._rounded[key] = round_weights(x, scheme.weight_bits or 8, kept, apart)
        return self._rounded[key]

    def _corrected(self, node: "Node", made: Any, active: Set[int], form: Form) -> Any:  # noqa: ANN401
        if not form.corrected or node not in self.shifts or self.layers.owner[node] not in active:
            return made
        shape = [1] * made.ndim
        shape[self.ranges[node].axis] = -1
        return made - self.shifts[node].reshape(shape)


def input_axis(output: int, rank: int) -> int:
    """The axis of the input channels of weights, by that of their output channels."""
    if rank < 2:
        return output
    return rank - 2 if output == rank - 1 else 1 - output


def _largest(x: "torch.Tensor", axis: int) -> "torch.Tensor":
    """Where each output channel has its largest magnitude."""
    import torch

    rows = x.movedim(axis, 0).flatten(1).abs()
    nowhere = torch.zeros_like(rows, dtype=torch.bool)
    places = nowhere.scatter_(1, rows.argmax(1, keepdim=True), True)
    moved = x.movedim(axis, 0)
    return places.reshape(moved.shape).movedim(0, axis)
