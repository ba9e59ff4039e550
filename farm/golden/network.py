"""The network behind `model.tflite`; made once, by

``edgefarm quantize farm/golden/network.py:network --data farm/golden/network.py:calibration
--target arm-neon-litert --recipe static_wi8_ai8 --out DIR``

Untrained: a golden model must use the kernels, not know anything. Weights and data are seeded.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_SHAPE = (1, 3, 12, 12)


def network() -> "tuple[torch.nn.Module, tuple[torch.Tensor, ...]]":
    """The module and an example: convolutions of three kinds, a residual, a mean, a classifier."""
    import torch
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.pointwise = nn.Conv2d(16, 16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.pointwise(nn.functional.relu6(self.depthwise(x)))

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU6(),
        Residual(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    return module.eval(), (torch.zeros(_SHAPE),)


def calibration() -> Iterator[np.typing.NDArray[np.float32]]:
    """Normal data of unit variance."""
    random = np.random.default_rng(1)
    for _ in range(32):
        yield random.standard_normal(_SHAPE, dtype=np.float32)
