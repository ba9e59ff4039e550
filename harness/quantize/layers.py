"""What a layer computes, in one word for all runtimes: the ``ops`` of a recipe's rules."""

from collections.abc import Iterable, Sequence

from harness.errors import ModelError
from harness.recipe import Rule

_LITERT = {
    "CONV_2D": "conv",
    "CONV_3D": "conv",
    "DEPTHWISE_CONV_2D": "depthwise_conv",
    "TRANSPOSE_CONV": "transposed_conv",
    "FULLY_CONNECTED": "linear",
    "EMBEDDING_LOOKUP": "embedding",
    "BATCH_MATMUL": "matmul",
}
_ATEN = {
    "conv1d": "conv",
    "conv2d": "conv",
    "conv3d": "conv",
    "conv_transpose1d": "transposed_conv",
    "conv_transpose2d": "transposed_conv",
    "addmm": "linear",
    "mm": "linear",
    "bmm": "matmul",
    "baddbmm": "matmul",
}
_MOST_NAMED = 20


def op_of_litert(op: str) -> str:
    """The word for an op of a `.tflite`; its own name in small letters where there is no other."""
    return _LITERT.get(op, op.lower())


def op_of_torch(operator: str, groups: int = 1, inputs: int = 0) -> str:
    """The word for an operator of torch, e.g. ``conv2d`` of ``aten.conv2d.default``.

    Args:
        groups, inputs: of a convolution, and its input channels.
    """
    word = _ATEN.get(operator, operator)
    return "depthwise_conv" if word == "conv" and groups > 1 and groups == inputs else word


def check_rules_used(rules: Iterable[Rule], layers: Sequence[tuple[str, str]], what: str) -> None:
    """Raise ModelError for a rule that takes no layer: its author meant one.

    Args:
        layers: module and op of each.
        what: what to call the model in messages.
    """
    for rule in rules:
        if any(rule.takes(path, op) for path, op in layers):
            continue
        asked = " ".join(
            f"{key} {', '.join(values)}"
            for key, values in (("names", rule.names), ("ops", rule.ops))
            if values
        )
        known = dict.fromkeys(f"{path} ({op})" for path, op in layers if path)
        more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        raise ModelError(
            f"{what}: a rule of the recipe takes no layer: {asked}; "
            f"the layers: {', '.join(list(known)[:_MOST_NAMED])}{more}"
        )
