"""Finds the masks of a float graph and the finite values that can stand for their -inf.

A mask is what puts some scores so far below the others that a softmax gives them nothing: -inf,
-1e9, -100. Eight bits cannot hold both such a value and the scores: either the range takes all of
it and the scores are lost, or it leaves it out and masked positions take part. A floor just low
enough does the same in float and leaves the scores their resolution.

The floor comes from observed ranges. With scores in [low, high], a masked score of at most
``low - gap`` has a probability of at most exp(-gap) of what stays; gap is `_GAP` plus the logarithm
of the softmax's length, so that all masked positions together stay below 1e-6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.emulator.graph import Graph, Node

Array = npt.NDArray[Any]
Span = tuple[float, float]

_GAP = 14.0
"""exp(-14) is 8e-7."""
_HUGE = {"scores": 1e3, "order": 1e6, "output": 1e30}
"""What is no score: for a softmax, for what takes the greatest, and where anybody may read it."""

_SHARE = 0.05
"""Of a range: far enough below the rest to be told from it in eight bits."""

_SOFTMAX = {"SOFTMAX", "LOG_SOFTMAX"}
_GREATEST = {"REDUCE_MAX", "MAX_POOL_2D"}
_ORDER = {"ARG_MAX", "TOPK_V2"}
_SAME = {
    "RESHAPE",
    "TRANSPOSE",
    "BROADCAST_TO",
    "EXPAND_DIMS",
    "SQUEEZE",
    "SLICE",
    "STRIDED_SLICE",
    "TILE",
    "GATHER",
}
_CHOICE = {"SELECT", "SELECT_V2", "PADV2"}
_SUM = {"ADD", "SUB"}


@dataclass(frozen=True)
class Floor:
    """The lowest value that ``sign * tensor`` may have."""

    value: float
    sign: int = 1

    def applied(self, x: Array) -> Array:
        """The values, with what lies below the floor raised to it."""
        return np.asarray(self.sign * np.maximum(self.sign * x, self.value), x.dtype)

    def cuts(self, x: Array) -> bool:
        """Whether the floor changes any value."""
        return bool(np.any(self.sign * x < self.value))


@dataclass
class Floors:
    """What to change so that the masks of a graph are finite.

    Attributes:
        constants: by tensor index, of constants.
        inputs: by tensor index, of the graph's inputs.
        factors: by tensor index, what replaces a constant that makes a mask by multiplying.
        lowest: by tensor index, where the range of a computed tensor that holds masked values
            begins.
    """

    constants: dict[int, Floor] = field(default_factory=dict)
    inputs: dict[int, Floor] = field(default_factory=dict)
    factors: dict[int, float] = field(default_factory=dict)
    lowest: dict[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.constants or self.inputs or self.factors or self.lowest)


def find_floors(
    graph: Graph, ranges: Mapping[str, Span], samples: Mapping[int, Array] | None = None
) -> Floors:
    """The floors of all masks of a graph.

    Args:
        graph: of floats.
        ranges: least and greatest finite value of each computed tensor, by name.
        samples: what the graph's inputs were given, by tensor index.
    """
    return _Walk(graph, ranges, samples or {}).floors()


class _Walk:
    """From each softmax back to what masks its scores."""

    def __init__(
        self, graph: Graph, ranges: Mapping[str, Span], samples: Mapping[int, Array]
    ) -> None:
        self._graph, self._ranges, self._samples = graph, ranges, samples
        self._makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
        self._found = Floors()
        self._huge = 0.0

    def floors(self) -> Floors:
        outputs = set(self._graph.outputs)
        for node in self._graph.nodes:
            outputs -= set(node.inputs)
            if node.op in _SOFTMAX:
                length = self._graph.tensors[node.inputs[0]].shape[-1:]
                self._apply(node.inputs[0], "scores", _GAP + math.log(max(length, default=1)))
            elif node.op in _GREATEST:
                self._apply(node.inputs[0], "order", 0.0)
            elif node.op in _ORDER:
                self._apply(node.inputs[0], "order", 0.0, _SHARE)
        for tensor in outputs:
            self._apply(tensor, "output", 0.0, _SHARE)
        return self._found

    def _apply(self, tensor: int, sink: str, gap: float, share: float = 0.0) -> None:
        """Give the masks behind a tensor their floor: `gap` and a share of the spread below."""
        self._huge = _HUGE[sink]
        slack = gap if sink == "scores" else self._huge
        kept = self._kept(tensor, slack, 1)
        if kept is not None:
            below = gap + share * (kept[1] - kept[0])
            self._raise(tensor, kept[0] - below, 1, slack)

    def _kept(self, tensor: int, slack: float, sign: int) -> Span | None:
        """Least and greatest of ``sign * tensor`` without what is masked: what lies more than
        `slack` below the rest. None where everything is masked."""
        values = self._values(tensor)
        node = self._makers.get(tensor)
        if values is not None:
            return _unmasked(sign * values, slack)
        if node is None:
            return self._range(tensor, sign)
        return self._kept_of(node, slack, sign)

    def _kept_of(self, node: Node, slack: float, sign: int) -> Span | None:
        if node.op in _SAME or node.op == "NEG":
            return self._kept(node.inputs[0], slack, -sign if node.op == "NEG" else sign)
        if node.op in _CHOICE:
            return _either([self._kept(one, slack, sign) for one in _branches(node)], slack)
        if node.op in _SUM:
            return self._kept_of_sum(node, slack, sign)
        span: Span | None = self._range(node.outputs[0], sign)
        if factor := self._factor(node):
            x, c = factor
            if abs(c) >= self._huge:
                return (self._range(node.outputs[0], sign)[1],) * 2
            inner = self._kept(x, slack / abs(c), sign if c > 0 else -sign)
            span = inner and (inner[0] * abs(c), inner[1] * abs(c))
        return span

    def _kept_of_sum(self, node: Node, slack: float, sign: int) -> Span | None:
        (a, b), signs = node.inputs[:2], (sign, sign if node.op == "ADD" else -sign)
        one = self._kept(a, slack + self._huge, signs[0])
        other = self._kept(b, slack + _spread(one), signs[1])
        one = self._kept(a, slack + _spread(other), signs[0])
        if one is None or other is None:
            return None
        return (one[0] + other[0], one[1] + other[1])

    def _raise(self, tensor: int, floor: float, sign: int, slack: float) -> bool:
        """Note what must change so that ``sign * tensor`` is nowhere below the floor; whether it
        has masked values at all."""
        values = self._values(tensor)
        if values is not None:
            constant = self._graph.tensors[tensor].data is not None
            found = self._found.constants if constant else self._found.inputs
            return _lower(found, tensor, Floor(floor, sign), values)
        node = self._makers.get(tensor)
        masked = node is not None and self._raise_sources(node, floor, sign, slack)
        if masked and sign > 0:
            self._found.lowest[tensor] = min(floor, self._found.lowest.get(tensor, floor))
        return masked

    def _raise_sources(self, node: Node, floor: float, sign: int, slack: float) -> bool:
        if node.op in _SAME or node.op == "NEG":
            sign = -sign if node.op == "NEG" else sign
            return self._raise(node.inputs[0], floor, sign, slack)
        if node.op in _CHOICE:
            raised = [self._raise(one, floor, sign, slack) for one in _branches(node)]
            return any(raised)
        if node.op in _SUM:
            return self._raise_terms(node, floor, sign, slack)
        if factor := self._factor(node):
            x, c = factor
            if abs(c) >= self._huge:
                return self._shrink(node, factor, floor, sign)
            return self._raise(x, floor / abs(c), sign if c > 0 else -sign, slack / abs(c))
        # The logarithm of a zero is how some masks are made
        return node.op == "LOG" and sign > 0 and self._range(node.inputs[0], 1)[0] <= 0

    def _raise_terms(self, node: Node, floor: float, sign: int, slack: float) -> bool:
        """A masked term must stay below the floor whatever is added to it."""
        signs = (sign, sign if node.op == "ADD" else -sign)
        spans = [
            self._kept(term, slack + self._huge, of)
            for term, of in zip(node.inputs[:2], signs, strict=True)
        ]
        raised = [
            self._raise(term, floor - (beside[1] if beside else 0.0), of, slack)
            for term, of, beside in zip(node.inputs[:2], signs, reversed(spans), strict=True)
        ]
        return any(raised)

    def _shrink(self, node: Node, factor: tuple[int, float], floor: float, sign: int) -> bool:
        """A factor that makes the mask: as large as the floor asks and no larger."""
        x, c = factor
        reach = -self._range(x, sign if c > 0 else -sign)[0]
        if not reach * abs(c) > -floor > 0:
            return False
        constant = next(one for one in node.inputs if one != x)
        least = math.copysign(-floor / reach, c)
        before = self._found.factors.get(constant, least)
        self._found.factors[constant] = max(before, least, key=abs)
        return True

    def _values(self, tensor: int) -> Array | None:
        """Of a float constant, or what a float input was given."""
        data = self._graph.tensors[tensor].data
        if data is None and tensor in self._graph.inputs:
            data = self._samples.get(tensor)
        return data if data is not None and data.dtype.kind == "f" and data.size else None

    def _range(self, tensor: int, sign: int) -> Span:
        low, high = self._ranges.get(self._graph.tensors[tensor].name, (0.0, 1.0))
        return (low, high) if sign > 0 else (-high, -low)

    def _factor(self, node: Node) -> tuple[int, float] | None:
        """(the other operand, the constant) of a multiplication by one number."""
        if node.op not in {"MUL", "DIV"}:
            return None
        for x, c in (node.inputs[:2], node.inputs[1::-1]):
            data = self._graph.tensors[c].data
            if data is not None and data.dtype.kind == "f" and data.size == 1 and data.any():
                value = float(data.ravel()[0])
                if node.op == "MUL":
                    return x, value
                return (x, 1 / value) if c == node.inputs[1] else None
        return None


def _branches(node: Node) -> tuple[int, ...]:
    """Where a choice, or padding, takes its values from."""
    return node.inputs[::2] if node.op == "PADV2" else node.inputs[1:3]


def _unmasked(values: Array, slack: float) -> Span | None:
    finite = values[np.isfinite(values) & (values > -1e38)]
    if not finite.size:
        return None
    high = float(finite.max())
    return float(finite[finite >= high - slack].min()), high


def _either(spans: list[Span | None], slack: float) -> Span | None:
    """What is kept of a choice: one branch masks when it lies below the other."""
    known = sorted((span for span in spans if span is not None), key=lambda span: span[1])
    if len(known) == 2 and known[0][1] < known[1][0] - slack:
        return known[1]
    return (min(s[0] for s in known), max(s[1] for s in known)) if known else None


def _spread(span: Span | None) -> float:
    return 0.0 if span is None else span[1] - span[0]


def _lower(found: dict[int, Floor], tensor: int, floor: Floor, values: Array) -> bool:
    """Note a floor that changes anything; of two, the lower one."""
    cuts = floor.cuts(values)
    if cuts:
        before = found.get(tensor, floor)
        found[tensor] = floor if floor.value < before.value else before
    return cuts
