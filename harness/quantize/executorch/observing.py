"""Ranges that a recipe's step chooses, in PT2E's observers. Isolated only."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.quantize.histograms import BINS, Choose, counted, worth_choosing
from harness.quantize.technique import Histogram

if TYPE_CHECKING:
    import torch

_LEVELS = 255


@cache
def observer() -> Any:  # noqa: ANN401  a class; torchao is untyped here
    """A class of observers: least and greatest value at first; once `counts` is set, how many
    values lie where between them."""
    import torch
    from torchao.quantization.pt2e import MinMaxObserver

    class CountingObserver(MinMaxObserver):  # type: ignore[misc]  # torchao is untyped here
        counts: Any = None
        spans: tuple[tuple[float, float], ...] = ()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.counts is None:
                return super().forward(x)
            values = x.detach().numpy()
            self.counts += counted(values, float(self.min_val), float(self.max_val))
            self.spans += ((float(values.min()), float(values.max())),)
            return x

    return CountingObserver


def choose_ranges(
    prepared: "torch.fx.GraphModule",
    samples: "Sequence[tuple[torch.Tensor, ...]]",
    choose: Choose,
) -> None:
    """Replace what the observers of activations saw by the range that is chosen.

    Args:
        prepared: the graph with its observers, which has run on all samples.
    """
    import torch

    seen = [
        one
        for one in prepared.modules()
        if isinstance(one, observer()) and worth_choosing(float(one.min_val), float(one.max_val))
    ]
    for one in seen:
        one.counts = np.zeros(BINS, np.int64)
    for batch in samples:
        prepared(*batch)
    for one in seen:
        seen_in = (float(one.min_val), float(one.max_val))
        low, high = choose(Histogram(*seen_in, one.counts, _LEVELS, one.spans))
        one.min_val.copy_(torch.tensor(low))
        one.max_val.copy_(torch.tensor(high))
