"""Where a node of a lowered graph comes from: its node in the exported graph, and its module.

Every pass of torch and ExecuTorch makes new nodes; each keeps the node that it was made from.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_WRAPPER = "model"
"""The user's module is a child, of this name, of what is exported."""


def origin(node: "torch.fx.Node") -> str:
    """Name of the node in the exported graph that a node was made from; its own where it is one
    of that graph, or was added later."""
    name, sources = str(node.name), node.meta.get("from_node") or []
    while sources:
        name, sources = str(sources[-1].name), sources[-1].from_node
    return name


def module_path(node: "torch.fx.Node", *, wrapped: bool = True) -> str:
    """The innermost of the user's modules that a node belongs to, e.g. ``blocks.0.conv``; "" for
    the outermost one, or when it is not known.

    Args:
        wrapped: whether the user's module is a child of what was exported.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]).replace("slf.", "") if stack else ""
    for prefix in ("L['self']", "L__self___", "."):
        path = path.removeprefix(prefix)
    if not wrapped:
        return path
    return "" if path == _WRAPPER else path.removeprefix(f"{_WRAPPER}.")


def module_class(node: "torch.fx.Node") -> str:
    """The class of that module, without its package; "" when it is not known."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    kind = stack[-1][1] if stack else ""
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
