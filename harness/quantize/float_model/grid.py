"""Grids of weights: a scale for each output channel, or one for all, times whole numbers.

What is written here into a float weight, both runtimes' quantizers find again: they take the
largest magnitude for the largest whole number. So each channel holds that number at least once.
Isolated only.
"""

from typing import TYPE_CHECKING, Literal

from harness.recipe.definition import Granularity

if TYPE_CHECKING:
    import torch

Search = Literal["max", "mse"]
_CANDIDATES = 100
_LEAST_FACTOR = 0.3


class Grid:
    """Scales for the rows of a weight, and the weights that must keep the largest number.

    Attributes:
        scale: (rows, 1); alike in all rows where there is one for the tensor.
        largest: the greatest whole number.
        pinned: (rows, columns), true where the whole number is the largest, of either sign.
    """

    def __init__(
        self, rows: "torch.Tensor", bits: int, granularity: Granularity, search: Search
    ) -> None:
        """Choose scales.

        Args:
            rows: the float weight, (rows, columns).
            search: ``max`` reaches the largest magnitude; ``mse`` may clip it, for the least
                squared error of all.
        """
        import torch

        self.largest = 2 ** (bits - 1) - 1
        taken = rows if granularity == "channel" else rows.reshape(1, -1)
        top = taken.abs().amax(1, keepdim=True)
        scale = torch.where(top > 0, top / self.largest, 1.0)
        if search == "mse":
            scale = self._least_error(taken, scale)
        pinned = torch.zeros_like(taken, dtype=torch.bool)
        pinned.scatter_(1, taken.abs().argmax(1, keepdim=True), top > 0)
        self.scale = scale.expand(len(rows), 1) if len(scale) == 1 else scale
        self.pinned = pinned.reshape(rows.shape)

    def nearest(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Whole numbers by plain rounding."""
        return self.settled((rows / self.scale).round(), rows)

    def settled(self, codes: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """Whole numbers within the limits, those of pinned weights at them."""
        limits = self.largest * rows.sign()
        return codes.clamp(-self.largest, self.largest).where(~self.pinned, limits)

    def _least_error(self, rows: "torch.Tensor", whole: "torch.Tensor") -> "torch.Tensor":
        import torch

        best, chosen = torch.full_like(whole, torch.inf), whole
        for factor in torch.linspace(1.0, _LEAST_FACTOR, _CANDIDATES).tolist():
            scale = whole * factor
            codes = (rows / scale).round().clamp(-self.largest, self.largest)
            error = (rows - codes * scale).square().sum(1, keepdim=True)
            better = error < best
            best, chosen = error.where(better, best), scale.where(better, chosen)
        return chosen
