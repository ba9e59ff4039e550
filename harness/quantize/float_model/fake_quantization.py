"""Weights as the integers of a scheme stand for them. Isolated only."""

from typing import TYPE_CHECKING

from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch


def step_of(weight: "torch.Tensor", recipe: Recipe) -> "torch.Tensor":
    """What one integer stands for: symmetric around 0, least and greatest value kept.

    Args:
        weight: output channels first, with its norm folded in.

    Returns:
        One for each output channel, in the weight's number of axes; 1 where all weights are 0.
    """
    import torch

    highest = weight.abs().flatten(1).amax(1)
    if recipe.weight_granularity == "tensor":
        highest = highest.amax().expand_as(highest)
    step = highest / (2 ** ((recipe.weight_bits or 8) - 1) - 1)
    return torch.where(step > 0, step, 1.0).reshape(-1, *[1] * (weight.ndim - 1))


def fake_quantized(weight: "torch.Tensor", recipe: Recipe) -> "torch.Tensor":
    """The weight rounded to what integers of the recipe's scheme can stand for."""
    step = step_of(weight, recipe)
    return (weight / step).round() * step
