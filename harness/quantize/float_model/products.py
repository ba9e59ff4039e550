"""What the rows of a layer's weight are multiplied with: a convolution is a product of rows and
patches of the input. Isolated only."""

from typing import TYPE_CHECKING, Any

from harness.quantize.float_model.layers import Layer, is_convolution

if TYPE_CHECKING:
    import torch

_ACTIVATIONS = (
    *("relu", "relu6", "hardtanh", "clamp", "leaky_relu", "elu", "gelu", "silu", "hardswish"),
    *("sigmoid", "hardsigmoid", "tanh", "softplus", "mish"),
)


def rows_of(layer: Layer, weight: "torch.Tensor") -> "torch.Tensor":
    """A weight, or what has one value for each channel, by groups: (groups, rows, columns)."""
    return weight.flatten(1).unflatten(0, (layer.groups, -1))


def factors_of(layer: Layer, x: "torch.Tensor") -> "torch.Tensor":
    """What the rows are multiplied with: (groups, places, columns).

    Args:
        x: the layer's input.
    """
    if not is_convolution(layer.node):
        return x.reshape(1, -1, x.shape[-1])
    given = arguments(layer.node)
    kernel = list(given["weight"].meta["val"].shape[2:])
    stride, dilation = (_for_axes(given[name], len(kernel)) for name in ("stride", "dilation"))
    x = _padded(x.reshape(-1, *x.shape[-1 - len(kernel) :]), given["padding"], kernel, dilation)
    for axis, size in enumerate(kernel):
        span = dilation[axis] * (size - 1) + 1
        x = x.unfold(2 + axis, span, stride[axis])[..., :: dilation[axis]]
    # (samples, channels, *places, *kernel) to (groups, samples, *places, channels, *kernel)
    x = x.unflatten(1, (layer.groups, -1)).movedim(1, 0).movedim(2, 2 + len(kernel))
    return x.flatten(2 + len(kernel)).flatten(1, -2)


def activation_of(layer: Layer) -> "torch.fx.Node | None":
    """The elementwise operator behind a layer, if the layer feeds nothing else."""
    import torch

    users = list(layer.last.users)
    kinds = {getattr(torch.ops.aten, name).default for name in _ACTIVATIONS}
    in_place = {getattr(torch.ops.aten, f"{name}_", None) for name in _ACTIVATIONS}
    kinds |= {one.default for one in in_place if one is not None}
    return users[0] if len(users) == 1 and users[0].target in kinds else None


def arguments(node: "torch.fx.Node") -> dict[str, Any]:
    """What an operator is given, by name, with its defaults."""
    names = node.target._schema.arguments
    given = {one.name: one.default_value for one in names}
    given |= dict(zip((one.name for one in names), node.args, strict=False))
    return given | dict(node.kwargs)


def _padded(
    x: "torch.Tensor",
    padding: "str | list[int]",
    kernel: list[int],
    dilation: list[int],
) -> "torch.Tensor":
    import torch

    if padding == "same":
        more = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        sides = [(total // 2, total - total // 2) for total in more]
    elif padding == "valid":
        return x
    else:
        sides = [(side, side) for side in _for_axes(padding, len(kernel))]
    return torch.nn.functional.pad(x, [side for pair in reversed(sides) for side in pair])


def _for_axes(value: Any, axes: int) -> list[int]:  # noqa: ANN401  a number or a list
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values
