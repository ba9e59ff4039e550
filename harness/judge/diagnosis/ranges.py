"""What the float values of a program are on the calibration samples. Isolated only."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.host.progress import Progress
from harness.judge.diagnosis.layers import operator
from harness.judge.diagnosis.program import CONVOLUTIONS, Program, is_float
from harness.quantize.finite import Spans
from harness.quantize.histograms import BINS, Choose, counted, worth_choosing
from harness.quantize.technique import Histogram
from harness.quantize.watching import run_watched

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

_LAST = ("linear", "matmul", "mm", "bmm", "layer_norm", "native_layer_norm", "embedding", "softmax")


@dataclass(frozen=True, eq=False)
class Range:
    """Of one node's values.

    Attributes:
        axis: of its channels.
        low, high: of each channel.
    """

    axis: int
    low: "torch.Tensor"
    high: "torch.Tensor"

    def widest(self) -> "torch.Tensor":
        """The largest magnitude in each channel."""
        return self.low.abs().maximum(self.high.abs())


Ranges = dict["Node", Range]


def observe_channels(
    program: Program, batches: "Sequence[tuple[torch.Tensor, ...]]", progress: Progress
) -> Ranges:
    """The ranges of all float values; infinities count for none."""
    import torch

    axes = channel_axes(program)
    found: Ranges = {}

    def see(node: "Node", value: Any) -> None:  # noqa: ANN401  whatever it gave
        if node not in axes or not isinstance(value, torch.Tensor) or not value.numel():
            return
        axis = axes[node]
        rows = value.movedim(axis, 0).flatten(1) if value.ndim else value.reshape(1, 1)
        low, high = rows.amin(1), rows.amax(1)
        if not (bool(low.isfinite().all()) and bool(high.isfinite().all())):
            finite = rows.isfinite()
            low = rows.where(finite, float("inf")).amin(1)
            high = rows.where(finite, float("-inf")).amax(1)
            low, high = low.minimum(high), high.maximum(low)
        known = found.get(node)
        if known is not None:
            low, high = known.low.minimum(low), known.high.maximum(high)
        found[node] = Range(axis, low, high)

    for done, batch in enumerate(batches):
        progress("observing ranges", done, len(batches))
        run_watched(program.module, batch, see)
    return found


def spans_of(ranges: Mapping["Node", Range]) -> Spans:
    """Least and greatest value by the node's name."""
    return {str(node.name): (float(x.low.min()), float(x.high.max())) for node, x in ranges.items()}


def chosen_spans(
    program: Program,
    nodes: "Set[Node]",
    spans: Spans,
    batches: "Iterable[tuple[torch.Tensor, ...]]",
    *,
    choose: Choose,
    levels: int,
) -> Spans:
    """The ranges that a recipe's step chooses for some nodes; those of the others as they were."""
    import torch

    wanted = {n: spans[n.name] for n in nodes if n.name in spans and worth_choosing(*spans[n.name])}
    counts = {node: np.zeros(BINS, np.int64) for node in wanted}

    def see(node: "Node", value: Any) -> None:  # noqa: ANN401  whatever it gave
        if node in wanted and isinstance(value, torch.Tensor):
            counts[node] += counted(value.numpy(), *wanted[node])

    for batch in batches:
        run_watched(program.module, batch, see)
    made = {
        str(node.name): choose(Histogram(*wanted[node], counts[node], levels)) for node in wanted
    }
    return {**spans, **made}


def channel_axes(program: Program) -> "dict[Node, int]":
    """The axis of the channels of each float value: as its operator has it, or its input."""
    axes: dict[Node, int] = {}
    for node in (*program.inputs, *program.steps):
        if not is_float(node):
            source = node.all_input_nodes[0] if node.all_input_nodes else node
            if source in axes and not hasattr(node.meta.get("val"), "dtype"):
                axes[node] = axes[source]  # several values: each finds its own
            continue
        rank = node.meta["val"].ndim
        axes[node] = min(_axis(node, rank, axes), max(rank - 1, 0))
    return {node: axis for node, axis in axes.items() if is_float(node)}


def _axis(node: "Node", rank: int, axes: "Mapping[Node, int]") -> int:
    last = max(rank - 1, 0)
    if node.op == "placeholder":
        return 1 if rank > 3 else last
    source = next((x for x in node.all_input_nodes if x in axes), None)
    if str(node.target) in CONVOLUTIONS:
        return 1
    if operator(node) in _LAST or source is None:
        return last
    return _moved(node, axes[source], rank, getattr(source.meta.get("val"), "ndim", rank), last)


def _moved(node: "Node", before: int, rank: int, rank_before: int, last: int) -> int:
    """Where the axis `before` of an operator's input is in what it gives."""
    if operator(node) == "permute":
        return [int(axis) % rank for axis in node.args[1]].index(before)
    if operator(node) == "transpose":
        first, second = (int(axis) % rank for axis in node.args[1:3])
        return {first: second, second: first}.get(before, before)
    return before if rank == rank_before else last
