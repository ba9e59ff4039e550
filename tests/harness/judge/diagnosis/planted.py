"""Small networks with a fault planted in one layer, which the float model does not feel."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

Batches = list[tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Planted:
    """A network with a fault.

    Attributes:
        layer: that must be named first.
        channels: that must be named, in any order; none where the fault has none of its own.
        causes: that may be named.
        recipe, runtimes: where the fault shows.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layer: str
    channels: frozenset[int] = frozenset()
    causes: frozenset[str] = frozenset()
    recipe: str = "static_wi8_ai8"
    runtimes: tuple[str, ...] = ("litert",)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.conv(x))
        return y


class Convolutions(nn.Module):
    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.stem = Block(3, 16, act)
        self.one = Block(16, 16, act)
        self.two = Block(16, 24, act)
        self.three = Block(24, 24, act)
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.three(self.two(self.one(self.stem(x))))
        out: torch.Tensor = self.head(y.mean((2, 3)))
        return out


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(self._block() for _ in range(3))
        self.head = nn.Linear(16, 10)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)

    @staticmethod
    def _block() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            nn.Conv2d(16, 16, 1, bias=False),
            nn.BatchNorm2d(16),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        out: torch.Tensor = self.head(x.mean((2, 3)))
        return out


class Attention(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, 64), nn.Linear(64, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        heads = [f(y).unflatten(-1, (4, -1)).transpose(1, 2) for f in self.projections()]
        mixed = nn.functional.scaled_dot_product_attention(*heads)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        out: torch.Tensor = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return out

    def projections(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.layers = nn.ModuleList(Attention() for _ in range(3))
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        out: torch.Tensor = self.head(x.mean(1))
        return out


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(7)
    module = make().eval()
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean = torch.randn(one.num_features) * 0.1
            one.running_var = torch.rand(one.num_features) + 0.5
    return module


def _rescale(
    first: torch.Tensor, bias: torch.Tensor | None, second: torch.Tensor, by: dict[int, float]
) -> None:
    """Output channels of one layer times a factor, input channels of the next by it."""
    with torch.no_grad():
        for channel, factor in by.items():
            first[channel] *= factor
            second[:, channel] /= factor
            if bias is not None:
                bias[channel] *= factor


def outlier_channels() -> nn.Module:
    net = _seeded(Convolutions)
    _rescale(net.one.conv.weight, net.one.conv.bias, net.two.conv.weight, {3: 300.0, 11: 200.0})
    return net


def range_ratio() -> nn.Module:
    """Channels that are wide and, behind the clamp, always zero."""
    net = _seeded(Convolutions)
    with torch.no_grad():
        net.one.conv.weight[[5, 12]] *= 60.0
        net.one.conv.bias[[5, 12]] = -1000.0
    return net


def huge_weight() -> nn.Module:
    """A weight that always meets a zero: an input channel that is dead."""
    net = _seeded(Convolutions)
    with torch.no_grad():
        net.one.conv.bias[5] = -100.0
        net.two.conv.weight[:, 5, 1, 1] = 30.0
    return net


def depthwise_ratio() -> nn.Module:
    net = _seeded(Depthwise)
    depthwise, norm = net.blocks[1][0], net.blocks[1][1]
    with torch.no_grad():
        depthwise.weight[[2, 9]] *= 100.0
        norm.running_mean[[2, 9]] *= 100.0
        norm.running_var[[2, 9]] *= 100.0**2
        norm.eps = 0.0
        net.blocks[1][1].weight[6] = 60.0
        net.blocks[1][1].bias[6] = -400.0
    return net


def outlier_after_norm() -> nn.Module:
    net = _seeded(Transformer)
    layer = net.layers[1]
    with torch.no_grad():
        layer.norm2.weight[4] *= 80.0
        layer.norm2.bias[4] *= 80.0
        layer.fc1.weight[:, 4] /= 80.0
    return net


def wide_input() -> nn.Module:
    """An input channel that is always zero, with wide weights."""
    net = _seeded(Transformer)
    with torch.no_grad():
        net.layers[2].fc2.weight[:, 7] *= 40.0
        net.layers[2].fc1.weight[7] = 0.0
        net.layers[2].fc1.bias[7] = 0.0
    return net


def shifted_bias() -> nn.Module:
    """Values far from zero, whose rounded weights in the next layer add up."""
    net = _seeded(lambda: Convolutions(nn.Identity))
    net.two.conv.padding = (0, 0)
    with torch.no_grad():
        net.one.conv.bias[8] += 200.0
        net.two.conv.bias -= 200.0 * net.two.conv.weight[:, 8].sum((1, 2))
    return net


def saturating() -> nn.Module:
    net = _seeded(lambda: Convolutions(nn.Tanh))
    with torch.no_grad():
        net.one.conv.weight *= 500.0
    return net


CASES = {
    "outlier-channels": Planted(
        outlier_channels,
        (3, 12, 12),
        "one.conv",
        frozenset({3, 11}),
        frozenset({"activation-outlier"}),
        runtimes=("litert", "executorch"),
    ),
    "outlier-channels-dynamic": Planted(
        outlier_channels,
        (3, 12, 12),
        "one.conv",
        frozenset({3, 11}),
        frozenset({"activation-outlier"}),
        "dynamic_wi8_afp32",
    ),
    "range-ratio": Planted(
        range_ratio,
        (3, 12, 12),
        "one.conv",
        frozenset({5, 12}),
        frozenset({"weight-range-ratio"}),
        recipe="static_wi8_ai8_per_tensor",
    ),
    "huge-weight": Planted(
        huge_weight, (3, 12, 12), "two.conv", causes=frozenset({"weight-outlier"})
    ),
    "depthwise": Planted(
        depthwise_ratio,
        (3, 12, 12),
        "blocks.1.0",
        frozenset({6}),
        frozenset({"weight-range-ratio"}),
        "static_wi8_ai8_per_tensor",
    ),
    "outlier-after-norm": Planted(
        outlier_after_norm,
        (9, 8),
        "layers.1.norm2",
        frozenset({4}),
        frozenset({"activation-outlier"}),
        runtimes=("executorch",),  # LiteRT's converter folds the factor into what follows
    ),
    "wide-input": Planted(
        wide_input,
        (9, 8),
        "layers.2.fc2",
        frozenset({7}),
        frozenset({"weight-range-ratio", "weight-outlier"}),
    ),
    "shifted-bias": Planted(
        shifted_bias,
        (3, 12, 12),
        "two.conv",
        causes=frozenset({"bias-shift"}),
    ),
    "saturating": Planted(saturating, (3, 12, 12), "one.conv", causes=frozenset({"saturated"})),
}


def batches_of(shape: tuple[int, ...], count: int = 12) -> Batches:
    generator = torch.Generator().manual_seed(3)
    return [(torch.rand((1, *shape), generator=generator),) for _ in range(count)]
