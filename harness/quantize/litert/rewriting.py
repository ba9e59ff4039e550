"""Operators that the LiteRT converter does not take, or takes wrongly, written with others that it
does, before the conversion: the numbers stay, but for the last bit of a product.

- ``alpha`` of torch.add and torch.sub: a product, and the sum;
- ``padding="same"`` and ``"valid"`` of convolutions: sizes in numbers, and what is more on one side
  padded before;
- transposed convolutions whose size LiteRT has no word for: one without padding, whose result is
  cut or filled up. A dilated one gets a kernel with zeros in between.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

_SUMS = ("aten.add.Tensor", "aten.add_.Tensor", "aten.sub.Tensor", "aten.sub_.Tensor")
_SCALED_FIRST = ("aten.rsub.Tensor",)
_PADDED = ("aten.conv1d.padding", "aten.conv3d.padding")  # of conv2d the converter takes it
_TRANSPOSED = ("aten.conv_transpose1d.default", "aten.conv_transpose2d.input")


def convertible(
    module: "torch.nn.Module", examples: "tuple[torch.Tensor, ...]"
) -> "torch.nn.Module":
    """The module itself where every operator converts; else one that computes the same."""
    import torch

    program = torch.export.export(module, examples, strict=False)
    todo = [node for node in program.graph.nodes if _rewrite_of(node) is not None]
    if not todo:
        return module
    graph_module = program.module(check_guards=False)
    for node in list(graph_module.graph.nodes):
        rewrite = _rewrite_of(node)
        if rewrite is not None:
            with graph_module.graph.inserting_before(node):
                rewrite(graph_module, node)
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module


def _rewrite_of(node: "Node") -> "Callable[[torch.fx.GraphModule, Node], None] | None":
    """What must be done about a node; None for nothing."""
    if node.op != "call_function":
        return None
    op = str(node.target)
    if op in (*_SUMS, *_SCALED_FIRST) and node.kwargs.get("alpha", 1) != 1:
        return _scale
    if op in _PADDED:
        return _pad
    if op in _TRANSPOSED and not all(map(_converts, *_geometry(node))):
        return _transposed
    return None


def _scale(graph_module: "torch.fx.GraphModule", node: "Node") -> None:
    import torch

    at = 0 if str(node.target) in _SCALED_FIRST else 1
    x, alpha = node.args[at], node.kwargs["alpha"]
    scaled = (
        graph_module.graph.call_function(torch.ops.aten.mul.Tensor, (x, alpha))
        if isinstance(x, torch.fx.Node)
        else x * alpha
    )
    node.update_arg(at, scaled)
    node.kwargs = {name: value for name, value in node.kwargs.items() if name != "alpha"}


def _pad(graph_module: "torch.fx.GraphModule", node: "Node") -> None:
    import torch

    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    kernel = given["weight"].meta["val"].shape[2:]
    axes = len(kernel)
    dilation = _for_axes(given.get("dilation", 1), axes)
    x = given["input"]
    same = given.get("padding", "valid") == "same"
    totals = [same * d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    sides = [side for total in totals[::-1] for side in (0, total % 2)]
    if any(sides):
        x = graph_module.graph.call_function(torch.ops.aten.constant_pad_nd.default, (x, sides))
    node.target = getattr(torch.ops.aten, f"conv{axes}d").default
    stride = _for_axes(given.get("stride", 1), axes)
    rest = (
        given.get("bias"),
        stride,
        [total // 2 for total in totals],
        dilation,
        given.get("groups", 1),
    )
    node.args, node.kwargs = (x, given["weight"], *rest), {}


def _transposed(graph_module: "torch.fx.GraphModule", node: "Node") -> None:
    import torch

    aten, graph = torch.ops.aten, graph_module.graph
    kernel, stride, padding, extra, dilation = _geometry(node)
    x, weight, bias = _argument(node, 0), _argument(node, 1), _argument(node, 2)
    lengths = x.meta["val"].shape[2:]
    if max(dilation) > 1:
        weight = _spread(graph_module, weight, dilation)
    filled = any(more > cut for cut, more in zip(padding, extra, strict=True))
    axes, groups = len(kernel), _argument(node, 6, 1)
    plain = (stride, [0] * axes, [0] * axes, groups, [1] * axes)
    y = graph.call_function(node.target, (x, weight, None if filled else bias, *plain))
    for axis, (n, k, s, p, o, d) in enumerate(
        zip(lengths, kernel, stride, padding, extra, dilation, strict=True), start=2
    ):
        whole = (n - 1) * s + d * (k - 1) + 1
        end = whole - max(0, p - o)
        if (p, end) != (0, whole):
            y = graph.call_function(aten.slice.Tensor, (y, axis, p, end))
    if filled:
        pairs = [(0, max(0, o - p)) for p, o in zip(padding, extra, strict=True)]
        sides = [side for pair in pairs[::-1] for side in pair]
        y = graph.call_function(aten.constant_pad_nd.default, (y, sides))
        if bias is not None:
            shaped = graph.call_function(aten.reshape.default, (bias, [1, -1, *[1] * axes]))
            y = graph.call_function(aten.add.Tensor, (y, shaped))
    y.meta = dict(node.meta)  # its size, which the next one may ask for
    node.replace_all_uses_with(y)
    graph.erase_node(node)


def _spread(graph_module: "torch.fx.GraphModule", weight: "Node", dilation: list[int]) -> "Node":
    """A kernel of which the given one takes every d-th place, the others are zero."""
    import torch

    graph = graph_module.graph
    shape = weight.meta["val"].shape
    y = weight
    for axis, (k, d) in enumerate(zip(shape[2:], dilation, strict=True), start=2):
        if d == 1:
            continue
        place = torch.zeros(k, d * (k - 1) + 1)
        place[torch.arange(k), torch.arange(k) * d] = 1
        name = f"_spread_{axis}_{k}_{d}"
        graph_module.register_buffer(name, place)
        moved = graph.call_function(torch.ops.aten.transpose.int, (y, axis, -1))
        made = graph.call_function(torch.ops.aten.matmul.default, (moved, graph.get_attr(name)))
        y = graph.call_function(torch.ops.aten.transpose.int, (made, axis, -1))
    return y


def _geometry(node: "Node") -> "tuple[list[int], ...]":
    """Kernel size, stride, padding, output_padding and dilation of a transposed convolution."""
    kernel = [int(size) for size in _argument(node, 1).meta["val"].shape[2:]]
    stride, padding, extra, dilation = (
        _for_axes(_argument(node, position, default), len(kernel))
        for position, default in ((3, 1), (4, 0), (5, 0), (7, 1))
    )
    return kernel, stride, padding, extra, dilation


_NAMES = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


def _argument(node: "Node", position: int, default: Any = None) -> Any:  # noqa: ANN401
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(_NAMES[position], default)


def _for_axes(value: Any, axes: int) -> list[int]:  # noqa: ANN401  a number or a list of them
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * axes if len(values) == 1 else values


def _converts(kernel: int, stride: int, padding: int, extra: int, dilation: int) -> bool:
    """Whether one axis of a transposed convolution is one of LiteRT's: nothing cut off, or as much
    on both sides as makes the result `stride` times as long. Found out with litert-torch 0.9."""
    if dilation > 1:
        return stride == 1 and extra == 0
    return extra == 0 and (padding == 0 or stride == 1 or kernel - stride == 2 * padding)
