"""What a layer computes, in one word for all runtimes: the ``ops`` of a recipe's rules."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.errors import ModelError
from harness.recipe import Rule

if TYPE_CHECKING:
    import torch

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
_GROUPS = 6
"""Place of the groups among a convolution's arguments."""
_MOST_NAMED = 20


def op_of_litert(op: str) -> str:
    """The word for an op of a `.tflite`; its own name in small letters where there is no other."""
    return _LITERT.get(op, op.lower())


def op_of(node: "torch.fx.Node") -> str:
    """The word for a node of an exported graph."""
    name = str(getattr(node.target, "__name__", node.target)).partition(".")[0].rstrip("_")
    word = _ATEN.get(name, name)
    if word != "conv":
        return word
    groups = int(node.args[_GROUPS]) if len(node.args) > _GROUPS else 1
    x = node.args[0].meta["val"] if hasattr(node.args[0], "meta") else None
    inputs = int(x.shape[1]) if x is not None and x.ndim > 2 else 0
    return "depthwise_conv" if groups > 1 and groups == inputs else word


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
