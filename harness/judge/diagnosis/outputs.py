"""Sums over samples of what rounding does to tensors: SQNR, cosine, and kept classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.judge.diagnosis.records import Loss

Array = npt.NDArray[Any]


@dataclass
class Difference:
    """Between some tensors and their float values, over all samples so far.

    Attributes:
        sums: of each tensor: the squares of the float values, of the others, of the difference,
            and the products of both.
        same, rows: samples of the first tensor that keep their class, of how many.
    """

    sums: list[npt.NDArray[np.float64]] = field(default_factory=list)
    same: int = 0
    rows: int = 0

    def add(self, got: Sequence[Array], reference: Sequence[Array]) -> None:
        """Count one more sample."""
        self.sums = self.sums or [np.zeros(4) for _ in reference]
        parts = zip(self.sums, got, reference, strict=True)
        self.sums = [before + _sums(x, x_ref) for before, x, x_ref in parts]
        if reference and reference[0].ndim == 2 and reference[0].shape[1] > 1:
            first, second = (np.argmax(x[0], axis=1) for x in (got, reference))
            self.same += int(np.count_nonzero(first == second))
            self.rows += len(first)

    @property
    def noise(self) -> float:
        """Noise to signal, the mean over the tensors; 0 for none."""
        parts = [noise / signal if signal else noise for signal, _, noise, _ in self.sums]
        return float(np.mean(parts)) if parts else 0.0

    def loss(self) -> Loss:
        """As it is told."""
        cosines = [
            both / np.sqrt(signal * power) if signal * power else float(signal == power)
            for signal, power, _, both in self.sums
        ]
        noise = self.noise
        agreement = self.same / self.rows if self.rows else None
        cosine = min(1.0, float(np.mean(cosines))) if cosines else 1.0
        return Loss(decibels(noise), cosine, agreement)


def decibels(noise: float) -> float:
    """Of noise to signal; inf without noise."""
    return float(-10 * np.log10(noise)) if noise > 0 else float("inf")


def _sums(x: Array, x_ref: Array) -> npt.NDArray[np.float64]:
    """Of finite values: a masked score is the same infinity on both sides."""
    x, x_ref = np.asarray(x, np.float64).ravel(), np.asarray(x_ref, np.float64).ravel()
    kept = np.isfinite(x) & np.isfinite(x_ref)
    if not kept.all():
        x, x_ref = x[kept], x_ref[kept]
    apart = x - x_ref
    return np.array([x_ref @ x_ref, x @ x, apart @ apart, x @ x_ref])
