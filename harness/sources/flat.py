"""A module of any signature as one that takes tensors and returns a flat tuple of tensors.

Converters and runtimes know inputs and outputs by position. Nested tuples and lists, dicts, named
tuples, dataclasses and what else torch's pytree knows are taken apart here, once for all of them.
The name of a tensor is its path: ``logits``, ``aux.0``; by position where there is no name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Leaves:
    """What a nested value holds, in order.

    Attributes:
        tensors: by path.
        others: everything that is no tensor, by path; None among it.
    """

    tensors: dict[str, Any]
    others: dict[str, Any]


def flatten(value: object) -> Leaves:
    """Take a nested value apart. A bare tensor has the path ``0``."""
    import torch

    found = Leaves({}, {})
    if isinstance(value, torch.Tensor):
        value = (value,)
    _gather(value, (), found)
    return found


def _gather(value: object, path: tuple[str, ...], found: Leaves) -> None:
    import torch

    if isinstance(value, torch.Tensor):
        found.tensors[".".join(path)] = value
        return
    children = _children(value)
    if children is None:
        found.others[".".join(path)] = value
        return
    for name, child in children:
        _gather(child, (*path, name), found)


def _children(value: object) -> list[tuple[str, object]] | None:
    """Named parts of a container; None for what is none."""
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", None) or getattr(value, "__match_args__", None)
        if names is None or len(names) != len(value):
            names = [str(index) for index in range(len(value))]
        return list(zip(names, value, strict=True))
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return _registered(value)


def _registered(value: object) -> list[tuple[str, object]] | None:
    """Parts of a class that was made known to torch's pytree."""
    from torch.utils import _pytree as pytree

    if type(value) not in pytree.SUPPORTED_NODES:
        return None
    leaves, _ = pytree.tree_flatten_with_path(value)
    return [(".".join(_step(key) for key in path), leaf) for path, leaf in leaves]


def _step(key: Any) -> str:  # noqa: ANN401  one of pytree's kinds of keys
    return str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name)))


def flat_module(
    module: "torch.nn.Module",
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    named: bool = False,
) -> "torch.nn.Module":
    """A module that takes the tensors of the example inputs in order, and returns a tuple of the
    tensors of `module`'s outputs.

    What is no tensor among the example inputs is given as it is in every call; what is no tensor
    among the outputs is left out.

    Args:
        named: return a dict by path in place of a tuple, where there are names.
    """
    import torch
    from torch.utils import _pytree as pytree

    leaves, structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
    places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    fixed = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

    class Flat(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.model = module
            self.training = False  # an exported program refuses to be told, as eval() does

        def forward(self, *tensors: torch.Tensor) -> Any:  # noqa: ANN401  see above
            given = list(fixed)
            for index, tensor in zip(places, tensors, strict=True):
                given[index] = tensor
            positional, keywords = pytree.tree_unflatten(given, structure)
            found = flatten(self.model(*positional, **keywords)).tensors
            if named and any(not path.isdecimal() for path in found):
                return found
            return tuple(found.values())

    return Flat()
