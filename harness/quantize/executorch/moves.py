"""Operators that only move values: XNNPACK runs them on integers where the scale stays the same.

Everything here runs in an isolated process.
"""

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def slice_chunks(graph_module: "torch.fx.GraphModule") -> int:
    """Replace chunks and splits by slices; the count. XNNPACK has slices and no splits."""
    import torch

    aten = torch.ops.aten
    splits = {
        aten.chunk.default,
        aten.split.Tensor,
        aten.split.default,
        aten.split_with_sizes.default,
    }
    replaced = 0
    for split in list(graph_module.graph.nodes):
        parts = split.meta.get("val") if split.target in splits else None
        if parts is None or not all(user.target == operator.getitem for user in split.users):
            continue
        dim = split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0)
        lengths = [part.shape[dim] for part in parts]
        if not all(isinstance(length, int) for length in lengths):
            continue
        for item in list(split.users):
            number = item.args[1]
            start = sum(lengths[:number])
            with graph_module.graph.inserting_before(item):
                part = graph_module.graph.call_function(
                    aten.slice.Tensor, (split.args[0], dim, start, start + lengths[number])
                )
            part.meta = dict(item.meta)
            item.replace_all_uses_with(part)
            graph_module.graph.erase_node(item)
        graph_module.graph.erase_node(split)
        replaced += 1
    graph_module.recompile()
    return replaced


def changes_in_place(graph_module: "torch.fx.GraphModule") -> bool:
    """Whether a node changes a value that others see: a view's, or one with several users.

    Quantizing gives each user a copy, so that the change would be lost.
    """
    import torch

    for node in graph_module.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload) or not node.args:
            continue
        changed = node.args[0]
        if not node.target._schema.is_mutable or not hasattr(changed, "users"):
            continue
        if changed.op == "call_function" and (len(changed.users) > 1 or _is_view(changed)):
            return True
    return False


def _is_view(node: "torch.fx.Node") -> bool:
    import torch

    target = node.target
    return target == operator.getitem or (
        isinstance(target, torch._ops.OpOverload) and bool(target.is_view)
    )


def share_scales(graph_module: "torch.fx.GraphModule", activation: Any) -> None:  # noqa: ANN401
    """Let what slices or moves a quantized value have that value's scale.

    Args:
        activation: the specification of what is quantized for the first time here: a slice of an
            input, where an operator that takes the slice is quantized.
    """
    import torch
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    aten = torch.ops.aten
    sharing = _moves() - {aten.cat.default, aten.pad.default, aten.constant_pad_nd.default}
    for move in graph_module.graph.nodes:
        if move.target not in sharing or Q_ANNOTATION_KEY in move.meta:
            continue
        source = move.args[0]
        annotation = source.meta.get(Q_ANNOTATION_KEY)
        if annotation is not None and annotation.output_qspec is not None:
            incoming = shared = SharedQuantizationSpec(source)
        elif source.op == "placeholder" and _is_wanted(move, Q_ANNOTATION_KEY):
            incoming, shared = activation, SharedQuantizationSpec((source, move))
        else:
            continue
        move.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
            input_qspec_map={source: incoming}, output_qspec=shared, _annotated=True
        )


def _is_wanted(node: "torch.fx.Node", key: str) -> bool:
    """Whether an operator that takes a node's output quantizes it."""
    annotations = (user.meta.get(key) for user in node.users)
    return any(one is not None and node in one.input_qspec_map for one in annotations)


def _moves() -> "set[Any]":
    """Operators whose integer form in XNNPACK demands one scale on both sides."""
    import torch

    aten = torch.ops.aten
    return {
        aten.cat.default,
        aten.clamp.default,
        aten.clone.default,
        aten.constant_pad_nd.default,
        aten.contiguous.default,
        aten.flatten.using_ints,
        aten.hardtanh.default,
        aten.hardtanh_.default,
        aten.max_pool2d.default,
        aten.pad.default,
        aten.permute.default,
        aten.relu.default,
        aten.relu_.default,
        aten.relu6.default,
        aten.reshape.default,
        aten.slice.Tensor,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.t.default,
        aten.transpose.int,
        aten.unflatten.int,
        aten.unsqueeze.default,
        aten.view.default,
    }


def keep_scales(graph_module: "torch.fx.GraphModule") -> int:
    """Where a move stands between two different scales, let it keep one and convert beside it; the
    count. XNNPACK refuses to load it otherwise.

    Args:
        graph_module: quantized, with nodes that quantize and dequantize.
    """
    moves, changed = _moves(), 0
    for move in list(graph_module.graph.nodes):
        if move.target not in moves or len(move.users) != 1:
            continue
        (after,) = move.users
        sources = move.all_input_nodes
        if not (_is_step(after, "quantize") and all(_is_step(x, "dequantize") for x in sources)):
            continue
        wanted = after.args[1:] if len(sources) > 1 else sources[0].args[1:]
        for source in sources:
            if source.args[1:] != wanted:
                with graph_module.graph.inserting_before(move):
                    move.replace_input_with(source, _convert(graph_module, source, wanted))
                changed += 1
        if after.args[1:] != wanted:
            with graph_module.graph.inserting_before(after):
                after.replace_input_with(move, _convert(graph_module, move, wanted))
            changed += 1
    graph_module.recompile()
    return changed


def _is_step(node: "torch.fx.Node", kind: str) -> bool:
    import torch

    return bool(
        node.target == getattr(torch.ops.quantized_decomposed, f"{kind}_per_tensor").default
    )


def _convert(
    graph_module: "torch.fx.GraphModule", source: "torch.fx.Node", wanted: tuple[Any, ...]
) -> "torch.fx.Node":
    """A value quantized and dequantized with the scale, zero point and range that are wanted."""
    import torch

    steps, graph = torch.ops.quantized_decomposed, graph_module.graph
    integers = graph.call_function(steps.quantize_per_tensor.default, (source, *wanted))
    real: torch.fx.Node = graph.call_function(
        steps.dequantize_per_tensor.default, (integers, *wanted)
    )
    for node in (integers, real):
        node.meta = {key: value for key, value in source.meta.items() if key != "from_node"}
    return real
