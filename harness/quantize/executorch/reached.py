"""What a recipe reached in a program that is about to be written: its graph and its delegates'.

The program knows the modules that its nodes came from; the file that is written of it does not.
"""

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Any

from harness.artifact import Layer
from harness.quantize.provenance import module_path, origin
from harness.quantize.reached import BY_RULE
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch

_WEIGHTED = {
    "linear": (0, 1),
    "convolution": (0, 1),
    "addmm": (1, 2),
    "mm": (0, 1),
    "matmul": (0, 1),
    "bmm": (0, 1),
    "baddbmm": (1, 2),
    "embedding": (1, 0),
}
"""By operator, the places of the activation and of the weights."""
_WHY = {
    "embedding": "ExecuTorch looks embeddings up in float",
    "bmm": "XNNPACK multiplies activations in float",
    "baddbmm": "XNNPACK multiplies activations in float",
    "convolution": "XNNPACK's quantizer has no rule for this convolution",
}
_PADDED = "XNNPACK gives wrong results for a convolution that pads and quantizes at run time"
_MOVES = (
    "permute_copy",
    "t_copy",
    "transpose_copy",
    "view_copy",
    "expand_copy",
    "unsqueeze_copy",
    "squeeze_copy",
    "slice_copy",
    "constant_pad_nd",
)
_RECURRENT = "XNNPACK's quantizer has no rule for recurrent layers"
_NO_RULE = "XNNPACK's quantizer covers nn.Linear and convolutions, not a product with a parameter"


def layers_of(
    program: "torch.export.ExportedProgram", recipe: Recipe, ruled: Set[str] = frozenset()
) -> tuple[Layer, ...]:
    """Each operator with weights, and each product of activations, with what was done to it.

    Args:
        program: as `to_edge_transform_and_lower` makes it.
        ruled: operators that a rule leaves in float, by `origin`.
    """
    layers = []
    for node, constants in _calls(program):
        op = _operator(node)
        places = _WEIGHTED.get(op)
        if places is None:
            continue
        x, weights = (_real(node.args[place]) for place in places)
        weighted = _behind(weights) in constants
        if weighted or recipe.mode == "static":
            in_float = origin(node) in ruled
            layers.append(_layer(node, op, recipe, x, weights, weighted=weighted, ruled=in_float))
    return tuple(layers)


def _calls(
    program: "torch.export.ExportedProgram",
) -> "Iterator[tuple[torch.fx.Node, set[torch.fx.Node]]]":
    """Every node, those inside delegates too, with the constants of its graph."""
    yield from _nodes_of(program)
    for name, module in program.graph_module.named_modules():
        inner = getattr(module, "original_module", None) if name else None
        if inner is not None:
            yield from _nodes_of(inner)


def _nodes_of(
    program: "torch.export.ExportedProgram",
) -> "Iterator[tuple[torch.fx.Node, set[torch.fx.Node]]]":
    signature = program.graph_signature
    held = {
        *signature.inputs_to_parameters,
        *signature.inputs_to_buffers,
        *signature.inputs_to_lifted_tensor_constants,
    }
    nodes = list(program.graph_module.graph.nodes)
    constants = {node for node in nodes if node.op == "get_attr" or node.name in held}
    for node in nodes:
        if node.op == "call_function":
            yield node, constants


def _operator(node: "torch.fx.Node") -> str:
    """``linear`` of ``aten.linear.default``, in whichever dialect."""
    name = str(getattr(node.target, "__name__", node.target))
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "aten" else name


def _layer(
    node: "torch.fx.Node",
    op: str,
    recipe: Recipe,
    x: Any,  # noqa: ANN401  a node or a number
    weights: Any,  # noqa: ANN401  a node or a number
    *,
    weighted: bool,
    ruled: bool,
) -> Layer:
    integers = [_is(weights, "dequantize")]
    if recipe.mode == "static" and op != "embedding":
        integers.append(_is(x, "dequantize"))
    name = module_path(node) or node.name
    if ruled:
        return Layer(name, op, "not", BY_RULE, weighted)
    if all(integers):
        return Layer(name, op, "quantized", weighted=weighted)
    if any(integers):
        kept = "its weights" if not integers[0] else "its input"
        return Layer(name, op, "partly", f"{kept} stayed float", weighted)
    why = _PADDED if op == "convolution" and recipe.mode == "dynamic" else ""
    return Layer(name, op, "not", why or _why(node, op, weighted=weighted), weighted)


def _why(node: "torch.fx.Node", op: str, *, weighted: bool) -> str:
    kinds = [str(kind) for _, kind in (node.meta.get("nn_module_stack") or {}).values()]
    if kinds and kinds[-1].rpartition(".")[2].strip("'>") in {"GRU", "LSTM", "RNN", "GRUCell"}:
        return _RECURRENT
    return _WHY["bmm"] if not weighted else _WHY.get(op, _NO_RULE)


def _real(argument: Any) -> Any:  # noqa: ANN401  a node or a number
    """The argument without what only moves it."""
    while _is(argument, *_MOVES):
        argument = argument.args[0]
    return argument


def _behind(argument: Any) -> Any:  # noqa: ANN401  a node or a number
    """What was dequantized, for a dequantized argument."""
    while _is(argument, "quantize"):
        argument = argument.args[0]
    return argument


def _is(argument: Any, *names: str) -> bool:  # noqa: ANN401  a node or a number
    """Whether it is a call of one of these; an input of a delegate only has the name of what it
    came from."""
    if getattr(argument, "op", "") != "call_function":
        return False
    return any(name in str(argument.target) for name in names)
