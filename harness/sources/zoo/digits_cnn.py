"""digits-cnn: a small CNN trained in seconds on scikit-learn's 1,797 handwritten digits (8x8).

The split is fixed: the last fifth of a seeded shuffle is held out and never seen in training;
calibration samples come from the training part.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.host.cache import content_key, default_cache
from harness.sources.dataset import Dataset

if TYPE_CHECKING:
    import torch

SUMMARY = "small CNN for scikit-learn's 8x8 digits, trained on first use"
PACKAGES = ("torch", "scikit-learn")
_HELD_OUT = 360
_CALIBRATION = 128
_EPOCHS = 12
_BATCH = 32


def model() -> "tuple[torch.nn.Module, tuple[torch.Tensor, ...]]":
    """The trained network and one example; weights are trained once and cached."""
    import torch

    network = _network()
    cache = default_cache()
    versions = {"torch": torch.__version__, "scikit-learn": version("scikit-learn")}
    key = content_key({"source": Path(__file__).read_text("utf-8"), **versions})
    stored = cache.entry("zoo", key)
    if not stored.is_dir():
        _train(network)
        with cache.fill("zoo", key) as folder:
            torch.save(network.state_dict(), folder / "weights.pt")
    network.load_state_dict(torch.load(stored / "weights.pt", weights_only=True))
    return network.eval(), (torch.zeros(1, 1, 8, 8),)


def data() -> Dataset:
    """Held-out digits with labels, and calibration digits from the training part."""
    x, labels = _digits()
    return Dataset(
        inputs=(x[-_HELD_OUT:],), labels=labels[-_HELD_OUT:], calibration=(x[:_CALIBRATION],)
    )


def _digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """All digits in a fixed shuffled order: (n, 1, 8, 8) in 0..1, and their classes.

    They are cached because it takes seconds to import scikit-learn, in each process that asks.
    """
    cache = default_cache()
    key = content_key({"data": "digits", "scikit-learn": version("scikit-learn")})
    stored = cache.entry("zoo", key)
    if not stored.is_dir():
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        with cache.fill("zoo", key) as folder:
            np.savez(folder / "digits.npz", images=digits.images, labels=digits.target)
    with np.load(stored / "digits.npz") as digits:
        images, labels = digits["images"], digits["labels"]
    order = np.random.default_rng(0).permutation(len(labels))
    return (images[order, None] / 16).astype(np.float32), labels[order].astype(np.int64)


def _network() -> "torch.nn.Module":
    """Dense, depthwise and 1x1 convolution, ReLU6, residual add, mean, linear: the ops of a
    mobile network, small."""
    import torch
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.body(x)

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        Residual(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def _train(network: "torch.nn.Module") -> None:
    """Adam on the training part, seeded, on one thread so that a machine repeats itself."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    x_all, labels_all = _digits()
    x = torch.from_numpy(x_all[:-_HELD_OUT])
    labels = torch.from_numpy(labels_all[:-_HELD_OUT])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    network.train()
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(x)).split(_BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        schedule.step()
