"""Rounding to integers and back, in float. Isolated only.

It is not the runtime's arithmetic, which rounds products too; what that makes of a model stands
beside, see `harness.judge.exactness`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MOST_FUSED = 8
"""Bits up to which torch rounds in one pass."""


def round_weights(
    x: "torch.Tensor", bits: int, kept: "tuple[int, ...]", apart: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """Symmetric: ``scale = max|x| / (2^(bits-1) - 1)``.

    Args:
        kept: axes along which scales differ; none for one scale.
        apart: where a value stays as it is and counts for no scale; None for nowhere.
    """
    most = 2 ** (bits - 1) - 1
    axes = [axis for axis in range(x.ndim) if axis not in kept]
    counted = x if apart is None else x.masked_fill(apart, 0.0)
    scale = (counted.abs().amax(axes, keepdim=True) if axes else counted.abs()) / most
    scale = scale.where(scale > 0, 1.0)
    rounded = (x / scale).round().clamp(-most, most) * scale
    return rounded if apart is None else x.where(apart, rounded)


def round_activations(
    x: "torch.Tensor", low: "torch.Tensor", high: "torch.Tensor", bits: int
) -> "torch.Tensor":
    """Asymmetric up to 8 bits, symmetric for more. Zero is always a value.

    Args:
        low, high: the range; of a shape that broadcasts to x.
    """
    import torch

    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if bits > _MOST_FUSED:
        high = low.abs().maximum(high)
        low, least = -high, -most
    scale = (high - low) / (most - least)
    scale = scale.where(scale > 0, 1.0)
    zero = (least - low / scale).round()
    if bits <= _MOST_FUSED and low.ndim == 0:
        return torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), least, most)
    return ((x / scale).round() + zero).clamp(least, most).sub(zero) * scale


def round_rows(x: "torch.Tensor", bits: int, *, of_samples: bool) -> "torch.Tensor":
    """As a runtime does that quantizes when it runs: each row by its own range.

    Args:
        of_samples: a row is all of a sample, as of convolutions; else the last axis.
    """
    if not x.ndim or not x.numel():
        return x
    axes = list(range(1, x.ndim)) if of_samples and x.ndim > 1 else [-1]
    return round_activations(x, x.amin(axes, keepdim=True), x.amax(axes, keepdim=True), bits)
