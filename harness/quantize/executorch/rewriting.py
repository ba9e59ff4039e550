"""What ExecuTorch's XNNPACK quantizer leaves out: symmetric padding folded into convolutions, ReLU6
quantized together with the operator before it, and padding that keeps its input's scale.

Everything here runs in an isolated process.
"""

from collections.abc import Set
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.quantize.executorch.masks import leave_in_float
from harness.quantize.executorch.moves import share_scales
from harness.quantize.provenance import module_class, module_path, origin

if TYPE_CHECKING:
    import torch


def fold_padding(graph_module: "torch.fx.GraphModule") -> int:
    """Move zero padding that is equal on both sides into the convolution it feeds; the count.

    XNNPACK pads inside its convolutions for nothing; on its own, ExecuTorch pads in float.
    """
    import torch

    folded = 0
    for pad in list(graph_module.graph.nodes):
        sides = zero_padding(pad)
        users = list(pad.users)
        if sides is None or len(users) != 1 or users[0].target != torch.ops.aten.conv2d.default:
            continue
        left, right, top, bottom = sides
        conv = users[0]
        own = conv.args[4] if len(conv.args) > 4 else [0, 0]
        if left != right or top != bottom or conv.args[0] is not pad or conv.kwargs:
            continue
        height, width = own if len(own) == 2 else (own[0], own[0])
        args = [*conv.args, *([None, [1, 1], [0, 0]][len(conv.args) - 2 :])]
        conv.args = (pad.args[0], *args[1:4], [height + top, width + left], *args[5:])
        graph_module.graph.erase_node(pad)
        folded += 1
    graph_module.recompile()
    return folded


def name_strides(graph_module: "torch.fx.GraphModule") -> int:
    """Give pooling without a stride the stride it has, its window; the count. ExecuTorch's
    partitioner takes for granted that it is given."""
    import torch

    pools = {torch.ops.aten.max_pool2d.default, torch.ops.aten.avg_pool2d.default}
    named = 0
    for pool in graph_module.graph.nodes:
        if pool.target in pools and (len(pool.args) < 3 or not pool.args[2]):
            pool.args = (*pool.args[:2], pool.args[1], *pool.args[3:])
            named += 1
    graph_module.recompile()
    return named


def separate_weights(graph_module: "torch.fx.GraphModule") -> int:
    """Give every use of a shared parameter a name of its own; the count of those given.

    A layer that is called twice is quantized twice only so: the quantizer takes a weight that it
    has marked for one that is done, and a batch normalization is folded into each use by itself.
    """
    given = 0
    for node in [node for node in graph_module.graph.nodes if node.op == "get_attr"]:
        for user in list(node.users)[1:]:
            given += 1
            name = f"{node.target.replace('.', '_')}_again{given}"
            setattr(graph_module, name, attrgetter(node.target)(graph_module))
            with graph_module.graph.inserting_after(node):
                own = graph_module.graph.get_attr(name)
            own.meta = dict(node.meta)
            user.replace_input_with(node, own)
    graph_module.recompile()
    return given


def zero_padding(node: "torch.fx.Node") -> tuple[int, int, int, int] | None:
    """(left, right, top, bottom) of a node that pads the last two axes with zeros, else None."""
    import torch

    if node.target == torch.ops.aten.constant_pad_nd.default:
        value = node.args[2] if len(node.args) > 2 else 0
    elif node.target == torch.ops.aten.pad.default:
        mode = node.args[2] if len(node.args) > 2 else "constant"
        value = (node.args[3] if len(node.args) > 3 else None) if mode == "constant" else 1
    else:
        return None
    sides = node.args[1]
    if value not in {None, 0} or len(sides) != 4 or not all(isinstance(n, int) for n in sides):
        return None
    left, right, top, bottom = sides
    return (left, right, top, bottom) if min(sides) >= 0 else None


def quantizer(
    config: Any,  # noqa: ANN401  executorch is untyped here
    in_float: Set[str] = frozenset(),
    masked: Set[str] = frozenset(),
) -> Any:  # noqa: ANN401
    """XNNPACKQuantizer that also covers clamps, padding and slices.

    Args:
        config: a ``QuantizationConfig`` for the whole graph.
        in_float: operators to leave alone, by their `origin`.
        masked: names of nodes that take or give the values of a mask: they are left in float.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer

    class FusingQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # executorch is untyped here
        def annotate(self, model: "torch.fx.GraphModule") -> "torch.fx.GraphModule":
            annotated = super().annotate(model)
            _leave_scalars(annotated)
            if not config.input_activation.is_dynamic:
                _join_clamps(annotated)
                _join_padding(annotated, config.input_activation)
                share_scales(annotated, config.input_activation)
            leave_in_float(annotated, masked)
            return annotated

    dynamic = config.input_activation.is_dynamic

    def is_taken(node: "torch.fx.Node") -> bool:
        # XNNPACK gives wrong results for a padded tensor that a convolution quantizes at run time
        return origin(node) not in in_float and not (dynamic and _is_padded(node))

    return FusingQuantizer().set_global(config).set_filter_function(is_taken)


def _is_padded(node: "torch.fx.Node") -> bool:
    source = node.args[0] if node.args else None
    return hasattr(source, "args") and zero_padding(source) is not None


def _leave_scalars(graph_module: "torch.fx.GraphModule") -> None:
    """Leave in float what takes or gives a tensor of rank 0: ExecuTorch's passes for XNNPACK fail
    on one that is quantized."""
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    for node in graph_module.graph.nodes:
        values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
        if any(getattr(value, "ndim", None) == 0 for value in values):
            node.meta.pop(Q_ANNOTATION_KEY, None)


def _join_clamps(graph_module: "torch.fx.GraphModule") -> None:
    """Quantize after the clamp and not before it: then the clamp is the operator's own output
    range, as XNNPACK computes it, and costs neither time nor resolution."""
    import torch
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    aten = torch.ops.aten
    clamps = {aten.hardtanh.default, aten.hardtanh_.default, aten.relu6.default, aten.clamp.default}
    heads = {aten.conv2d.default, aten.linear.default, aten.add.Tensor}
    for clamp in graph_module.graph.nodes:
        head = clamp.args[0] if clamp.target in clamps else None
        if head is None or head.target not in heads or len(head.users) != 1:
            continue
        annotation = head.meta.get(Q_ANNOTATION_KEY)
        if annotation is not None and annotation.output_qspec is not None:
            clamp.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
                output_qspec=annotation.output_qspec, _annotated=True
            )
            annotation.output_qspec = None


def _join_padding(graph_module: "torch.fx.GraphModule", activation: Any) -> None:  # noqa: ANN401
    """Give padding the scale of what it pads, so that it changes no value."""
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    for pad in graph_module.graph.nodes:
        if zero_padding(pad) is None:
            continue
        source = pad.args[0]
        annotation = source.meta.get(Q_ANNOTATION_KEY)
        if annotation is not None and annotation.output_qspec is not None:
            incoming = shared = SharedQuantizationSpec(source)
        else:
            incoming, shared = activation, SharedQuantizationSpec((source, pad))
        pad.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
            input_qspec_map={source: incoming}, output_qspec=shared, _annotated=True
        )


def stranded_operators(program: "torch.export.ExportedProgram") -> dict[str, str]:
    """Operators that were quantized, and that no delegate took: in words, by `origin`.

    Args:
        program: in ExecuTorch's form, after partitioning.
    """
    stranded: dict[str, str] = {}
    constants = {*_constants(program)}
    for node in program.graph.nodes:
        name = str(getattr(node.target, "__name__", ""))
        of_weights = "dequantize_per" in name and node.args[0].name in constants
        if not (of_weights or "choose_qparams" in name):
            continue
        for user in _operators_behind(node):
            stranded[origin(user)] = _in_words(user)
    return stranded


def refuse_without_kernel(program: "torch.export.ExportedProgram", what: str) -> None:
    """Raise ModelError for operators that neither XNNPACK nor a portable kernel runs, although
    ExecuTorch would write them: the program would end at its first invocation.

    Args:
        program: in ExecuTorch's form, after partitioning.
        what: what to call the model in messages.
    """
    for node in program.graph.nodes:
        name = str(getattr(node.target, "__name__", ""))
        if name == "aten.convolution.default" and len(node.args[3]) > 2:
            raise ModelError(
                f"{what}: {_in_words(node)} has {len(node.args[3])} spatial dimensions; ExecuTorch "
                "has convolutions of one and two: replace it, or use a target with LiteRT"
            )


def _constants(program: "torch.export.ExportedProgram") -> list[str]:
    """Names of a program's parameters, buffers and constants."""
    signature = program.graph_signature
    kinds = (
        signature.inputs_to_parameters,
        signature.inputs_to_buffers,
        signature.inputs_to_lifted_tensor_constants,
    )
    return [name for kind in kinds for name in kind]


def _operators_behind(node: "torch.fx.Node") -> "list[torch.fx.Node]":
    """The operators that take what a quantizing or dequantizing node gives."""
    found, waiting = [], list(node.users)
    while waiting:
        user = waiting.pop()
        name = str(getattr(user.target, "__name__", user.target))
        if "quantize_per" in name or "getitem" in name:
            waiting.extend(user.users)
        elif user.op == "call_function" and "delegate" not in name:
            found.append(user)
    return found


def _in_words(node: "torch.fx.Node") -> str:
    path, kind = module_path(node), module_class(node)
    return f"{path or 'the module itself'} ({kind or origin(node)})"
