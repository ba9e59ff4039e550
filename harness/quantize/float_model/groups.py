"""Groups of tensors whose channels can be scaled together without a change of what the model gives:
what makes them is multiplied, what takes them divided. Isolated only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.quantize.float_model.layers import (
    Layer,
    argument,
    layers_of,
    norm_of,
    parameter,
    single_uses,
)

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]

Axes = tuple[int, ...]
"""Those that count a tensor's channels together: several where heads are apart."""


@dataclass(eq=False)
class Group:
    """Attributes:
    size: how many channels.
    makers: layers whose outputs are among the tensors.
    affine: names of gain and shift of normalization, or of a factor, that make some of them.
    takers: layers that take them.
    clamps: nodes of rectification with an upper bound, with it.
    axes: of each tensor, by the node that gives it.
    closed: something takes or makes them that no factor passes.
    """

    size: int
    makers: list[Layer] = field(default_factory=list)
    affine: list[str] = field(default_factory=list)
    takers: list[Layer] = field(default_factory=list)
    clamps: "list[tuple[torch.fx.Node, float]]" = field(default_factory=list)
    axes: "dict[torch.fx.Node, Axes]" = field(default_factory=dict)
    closed: bool = False

    def scale(self, state: "State", factor: "torch.Tensor") -> None:
        """Multiply each channel of the tensors by a factor, and undo it in what takes them."""
        for layer in self.makers:
            norm = layer.norm
            names = [norm.gain, norm.shift] if norm else [layer.weight, layer.bias]
            for name in names:
                if name is not None:
                    state[name].mul_(rows(factor, state[name]))
        for name in self.affine:
            state[name].mul_(factor)
        for layer in self.takers:
            state[layer.weight].div_(columns(factor, layer, state[layer.weight]))


def rows(factor: "torch.Tensor", x: "torch.Tensor") -> "torch.Tensor":
    """One factor for each output channel, as it multiplies a weight or bias."""
    return factor.reshape(-1, *[1] * (x.ndim - 1))


def columns(factor: "torch.Tensor", layer: Layer, weight: "torch.Tensor") -> "torch.Tensor":
    """One factor for each input channel, as it multiplies the layer's weight."""
    each = len(weight) // layer.groups
    spread = factor.reshape(layer.groups, 1, -1).expand(-1, each, -1)
    return spread.reshape(len(weight), -1, *[1] * (weight.ndim - 2))


def by_channel(x: "torch.Tensor", axes: Axes) -> "torch.Tensor":
    """The tensor as (channels, all else)."""
    return x.movedim(axes, tuple(range(len(axes)))).flatten(0, len(axes) - 1).flatten(1)


def scale_groups(graph: "torch.fx.Graph", state: "State") -> list[Group]:
    """All groups that can be scaled: something in our hands makes and something takes them."""
    finder = _Finder(graph, state)
    for node in graph.nodes:
        finder.visit(node)
    return finder.open_groups()


class _Finder:
    """Follows the channels of each tensor through the graph."""

    def __init__(self, graph: "torch.fx.Graph", state: "State") -> None:
        self.layers = {x.node: x for x in layers_of(graph, state)}
        self.folded = {x.last for x in self.layers.values()} - self.layers.keys()
        self.own = single_uses(graph, state)
        self.groups: dict[torch.fx.Node, Group] = {}

    def open_groups(self) -> list[Group]:
        unique = list(dict.fromkeys(self.groups.values()))
        return [x for x in unique if not x.closed and x.takers and (x.makers or x.affine)]

    def visit(self, node: "torch.fx.Node") -> None:
        if node in self.layers:
            self._layer(node, self.layers[node])
        elif node in self.folded:
            self._pass(node, node.args[0])
        elif node.op != "call_function" or not self._known(node):
            for used in node.all_input_nodes:
                self._close(used)

    def _known(self, node: "torch.fx.Node") -> bool:
        """Whether a factor passes the node, or starts at it."""
        first = node.args[0] if node.args else None
        kind = _kind(node)
        if kind == "affine":
            return self._affine(node)
        if kind == "product":
            return self._product(node)
        if first not in self.groups:
            return False
        if kind == "clamp":
            return self._clamp(node, first)
        return self._sum(node) if kind == "sum" else kind == "pass" and self._pass(node, first)

    def _clamp(self, node: "torch.fx.Node", taken: "torch.fx.Node") -> bool:
        bound = _upper_bound(node)
        if bound is None:
            return False
        if math.isfinite(bound):
            self.groups[taken].clamps.append((node, bound))
        return self._pass(node, taken)

    def _layer(self, node: "torch.fx.Node", layer: Layer) -> None:
        taken = node.args[0]
        axis = layer.channel_axis % _rank(taken)
        if taken in self.groups:
            group = self.groups[taken]
            if group.axes[taken] == (axis,):
                group.takers.append(layer)
            else:
                group.closed = True
        made = Group(_shape(node)[layer.channel_axis], makers=[layer])
        self._put(node, made, (layer.channel_axis % _rank(node),))

    def _affine(self, node: "torch.fx.Node") -> bool:
        """A normalization whose gain and shift are in our hands."""
        import torch

        aten = torch.ops.aten
        if node.target == aten.batch_norm.default:
            norm = norm_of(node)
            names, axis = ([norm.gain, norm.shift] if norm else []), 1
        else:
            gain = parameter(node, 2)
            shift = parameter(node, 3) if node.target == aten.layer_norm.default else None
            names, axis = [x for x in (gain, shift) if x is not None], _rank(node) - 1
            if len(node.args[1]) != 1 or gain is None:
                names = []
        if not names or not self.own.issuperset(names):
            return False
        self._close(node.args[0])
        self._put(node, Group(_shape(node)[axis], affine=names), (axis,))
        return True

    def _sum(self, node: "torch.fx.Node") -> bool:
        first, second = node.args[:2]
        if second not in self.groups or node.kwargs.get("alpha", 1) != 1:
            return False
        one, other = self.groups[first], self.groups[second]
        axes = one.axes[first]
        if _shape(first) != _shape(second) or axes != other.axes[second]:
            return False
        self._join(one, other)
        self._put(node, one, axes)
        return True

    def _product(self, node: "torch.fx.Node") -> bool:
        """A factor that is a parameter starts a group; else one side of a product passes."""
        import torch

        first, second = node.args[:2]
        if node.target == torch.ops.aten.mul.Tensor and self._factor(node, first, second):
            return True
        if node.target == torch.ops.aten.matmul.default:
            first, second = second, first  # the rows of the second are what the first weighs
            axes = self.groups[first].axes[first] if first in self.groups else ()
            if not axes or _rank(first) - 2 in axes or _rank(first) != _rank(node):
                return False
        for passing, other in ((first, second), (second, first)):
            if passing in self.groups and _same_channels(self.groups[passing], passing, node):
                self._close(other)
                return self._pass(node, passing)
            if node.target == torch.ops.aten.matmul.default:
                break
        return False

    def _factor(self, node: "torch.fx.Node", first: Any, second: Any) -> bool:  # noqa: ANN401
        for factor, other in ((first, second), (second, first)):
            if getattr(factor, "op", "") == "get_attr" and factor.target in self.own:
                if _rank(factor) != 1 or _shape(factor)[0] != _shape(node)[-1]:
                    return False
                self._close(other)
                made = Group(_shape(node)[-1], affine=[str(factor.target)])
                self._put(node, made, (_rank(node) - 1,))
                return True
        return False

    def _pass(self, node: "torch.fx.Node", taken: Any) -> bool:  # noqa: ANN401
        group = self.groups.get(taken)
        if group is None:
            return False
        axes = _moved(node, group.axes[taken], group.size)
        if axes is None:
            return False
        self._put(node, group, axes)
        return True

    def _put(self, node: "torch.fx.Node", group: Group, axes: Axes) -> None:
        self.groups[node] = group
        group.axes[node] = axes

    def _close(self, node: Any) -> None:  # noqa: ANN401
        if node in self.groups:
            self.groups[node].closed = True

    def _join(self, one: Group, other: Group) -> None:
        if one is other:
            return
        one.makers += other.makers
        one.affine += other.affine
        one.takers += other.takers
        one.clamps += other.clamps
        one.axes |= other.axes
        one.closed |= other.closed
        for node in other.axes:
            self.groups[node] = one


def _kind(node: "torch.fx.Node") -> str:
    """How a factor on channels fares at an operator."""
    return _kinds().get(str(node.target), "")


def _kinds() -> dict[str, str]:
    passing = (
        "relu relu_ leaky_relu leaky_relu_ dropout contiguous clone alias detach pad "
        "constant_pad_nd max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d "
        "adaptive_avg_pool2d "
        "adaptive_max_pool2d view reshape flatten unsqueeze squeeze transpose permute mean"
    )
    overloads = {"flatten": "using_ints", "transpose": "int", "mean": "dim", "squeeze": "dim"}
    kinds = {f"aten.{x}.{overloads.get(x, 'default')}": "pass" for x in passing.split()}
    kinds |= {f"aten.{x}.default": "clamp" for x in ("relu6", "hardtanh", "hardtanh_", "clamp")}
    kinds |= {f"aten.{x}.default": "affine" for x in ("batch_norm", "layer_norm", "rms_norm")}
    kinds |= {f"aten.{x}.Tensor": "sum" for x in ("add", "add_")}
    return kinds | {"aten.mul.Tensor": "product", "aten.matmul.default": "product"}


def _upper_bound(node: "torch.fx.Node") -> float | None:
    """Of a rectification that begins at 0: infinity without one; None where it begins elsewhere."""
    if str(node.target).startswith("aten.relu6"):
        return 6.0
    low, high = argument(node, 1), argument(node, 2)
    if str(node.target) != "aten.clamp.default":
        low, high = -1.0 if low is None else low, 1.0 if high is None else high
    if low is None or low != 0:
        return None
    return math.inf if high is None else float(high)


def _moved(node: "torch.fx.Node", axes: Axes, size: int) -> Axes | None:
    """Where the channels are behind the node; None where they are not all there any more."""
    name = str(node.target).split(".")[1]
    taken, shape = node.args[0], _shape(node)
    rank = _rank(taken)
    if name in {"transpose", "permute"}:
        order = _order(node, name, rank)
        return tuple(order.index(axis) for axis in axes)
    if name in {"view", "reshape", "flatten", "unsqueeze", "squeeze"}:
        return _reshaped(_shape(taken), shape, axes)
    if name == "mean":
        gone = {x % rank for x in argument(node, 1) or range(rank)}
        kept = bool(argument(node, 2))
        moved = axes if kept else tuple(x - sum(y < x for y in gone) for x in axes)
        return None if gone & set(axes) else moved
    pads = name in {"pad", "constant_pad_nd"} and not _pads_zeros_beside(node, axes, rank)
    pools = name.startswith(("max_pool", "avg_pool", "adaptive")) and axes != (1,)
    held = math.prod(shape[x] for x in axes) if len(shape) == rank else 0
    return axes if held == size and not pads and not pools else None


def _order(node: "torch.fx.Node", name: str, rank: int) -> list[int]:
    """Which axis of what it takes each axis of the output is."""
    if name == "permute":
        return [x % rank for x in node.args[1]]
    order = list(range(rank))
    a, b = node.args[1] % rank, node.args[2] % rank
    order[a], order[b] = order[b], order[a]
    return order


def _pads_zeros_beside(node: "torch.fx.Node", axes: Axes, rank: int) -> bool:
    amounts = node.args[1]
    touched = {rank - 1 - i // 2 for i, amount in enumerate(amounts) if amount}
    if str(node.target) == "aten.pad.default":
        if (argument(node, 2) or "constant") != "constant":
            return not touched & set(axes)
        value = argument(node, 3)
    else:
        value = argument(node, 2)
    return not touched & set(axes) and not value


def _reshaped(before: Sequence[int], after: Sequence[int], axes: Axes) -> Axes | None:
    """Channels stand one after the other in memory, and so they do afterwards."""
    first, last = axes[0], axes[-1]
    if axes != tuple(range(first, last + 1)):
        return None
    ahead, size = math.prod(before[:first]), math.prod(before[first : last + 1])
    start = next(
        (i for i in range(len(after)) if math.prod(after[:i]) == ahead and after[i] != 1), None
    )
    if start is None:
        return None
    for end in range(start + 1, len(after) + 1):
        if math.prod(after[start:end]) == size:
            return tuple(range(start, end))
    return None


def _same_channels(group: Group, taken: "torch.fx.Node", node: "torch.fx.Node") -> bool:
    """Whether a broadcast leaves the channels where they are."""
    axes = group.axes[taken]
    if _rank(taken) != _rank(node):
        return False
    return all(_shape(taken)[x] == _shape(node)[x] for x in axes)


def _shape(node: Any) -> tuple[int, ...]:  # noqa: ANN401  an argument of a node
    value = getattr(node, "meta", {}).get("val")
    return tuple(int(x) for x in value.shape) if value is not None else ()


def _rank(node: Any) -> int:  # noqa: ANN401  see `_shape`
    return len(_shape(node))
