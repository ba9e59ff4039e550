"""One small network for each layer of torch.nn that vision, audio and language models use.

A MODEL reference to a case is ``tests/lowering/catalogue.py:NAME``. Weights are seeded; inputs are
normally distributed, or token numbers where the example is of integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

IMAGE, SIGNAL, VECTOR, SEQUENCE = (1, 8, 12, 12), (1, 8, 32), (1, 16), (1, 10, 16)
VOCABULARY = 50


@dataclass(frozen=True)
class Case:
    """A kind of module: its group, its name in the table, and how to make it."""

    group: str
    title: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    tokens: bool = False


CASES: dict[str, Case] = {}


def case(
    group: str, title: str, *shapes: tuple[int, ...], tokens: bool = False
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Enter a maker under its own name; beside it stands the function that edgefarm calls."""

    def enter(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        name = make.__name__.removeprefix("make_")
        CASES[name] = Case(group, title, make, shapes, tokens)
        globals()[name] = lambda: reference(name)
        return make

    return enter


def reference(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """What a MODEL reference gives: the module, seeded, and its example inputs."""
    torch.manual_seed(0)
    entry = CASES[name]
    return entry.make().eval(), tuple(draw(entry, shape) for shape in entry.shapes)


def draw(entry: Case, shape: tuple[int, ...]) -> Tensor:
    """One input."""
    return torch.randint(0, VOCABULARY, shape) if entry.tokens else torch.randn(shape)


class Apply(nn.Module):
    """A function of tensors as a module, behind a module that has weights where one is given."""

    def __init__(self, function: Callable[..., Any], before: nn.Module | None = None) -> None:
        super().__init__()
        self.function = function
        self.before = before or nn.Identity()

    def forward(self, x: Tensor, *more: Tensor) -> Any:
        """Apply it."""
        return self.function(self.before(x), *more)


def plain(group: str, title: str, make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> None:
    """A layer that needs nothing around it, named by its title."""
    name = "".join(c if c.isalnum() else "_" for c in title).strip("_").lower()
    while "__" in name:
        name = name.replace("__", "_")
    CASES[name] = Case(group, title, make, shapes)
    globals()[name] = lambda: reference(name)


_CONV, _NORM, _ACT, _POOL, _SHAPE, _SEQ, _BLOCK = (
    "Convolutions and products",
    "Normalization",
    "Activations",
    "Pools",
    "Shape and resampling",
    "Sequences",
    "Blocks of networks",
)

for title, make, shape in (
    ("Linear", lambda: nn.Linear(16, 10), VECTOR),
    ("Linear on a sequence", lambda: nn.Linear(16, 10), SEQUENCE),
    ("Conv1d", lambda: nn.Conv1d(8, 12, 3, padding=1), SIGNAL),
    ("Conv2d", lambda: nn.Conv2d(8, 12, 3, padding=1), IMAGE),
    ("Conv2d stride 2", lambda: nn.Conv2d(8, 12, 3, stride=2, padding=1), IMAGE),
    ("Conv2d dilation 2", lambda: nn.Conv2d(8, 12, 3, padding=2, dilation=2), IMAGE),
    ("Conv2d groups", lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4), IMAGE),
    ("Conv2d depthwise", lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), IMAGE),
    ("Conv2d same, even kernel", lambda: nn.Conv2d(8, 12, 4, padding="same"), IMAGE),
    ("Conv2d reflect padding", lambda: nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect"),
     IMAGE),
    ("Conv3d", lambda: nn.Conv3d(4, 6, 3, padding=1), (1, 4, 6, 8, 8)),
    ("ConvTranspose1d", lambda: nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1), SIGNAL),
    ("ConvTranspose2d", lambda: nn.ConvTranspose2d(8, 6, 2, stride=2), IMAGE),
    ("ConvTranspose2d output padding",
     lambda: nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1), IMAGE),
    ("ConvTranspose2d groups", lambda: nn.ConvTranspose2d(8, 8, 2, stride=2, groups=4), IMAGE),
):  # fmt: skip
    plain(_CONV, title, make, shape)

for title, make, shape in (
    ("BatchNorm2d", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)), IMAGE),
    ("BatchNorm1d", lambda: nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16)), VECTOR),
    ("LayerNorm", lambda: nn.LayerNorm(16), SEQUENCE),
    ("RMSNorm", lambda: nn.RMSNorm(16), SEQUENCE),
    ("GroupNorm", lambda: nn.GroupNorm(4, 8), IMAGE),
    ("InstanceNorm2d", lambda: nn.InstanceNorm2d(8), IMAGE),
    ("LocalResponseNorm", lambda: nn.LocalResponseNorm(3), IMAGE),
):
    plain(_NORM, title, make, shape)

for layer in (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus,
    nn.Softsign, nn.Softmax, nn.LogSoftmax, nn.GLU,
):  # fmt: skip
    with_axis = layer in {nn.Softmax, nn.LogSoftmax, nn.GLU}
    plain(_ACT, layer.__name__,
          (lambda kind=layer: nn.Sequential(nn.Linear(16, 16), kind(dim=-1))) if with_axis
          else (lambda kind=layer: nn.Sequential(nn.Linear(16, 16), kind())), VECTOR)  # fmt: skip

for title, make, shape in (
    ("MaxPool1d", lambda: nn.MaxPool1d(2), SIGNAL),
    ("MaxPool2d", lambda: nn.MaxPool2d(2), IMAGE),
    ("MaxPool2d padding", lambda: nn.MaxPool2d(3, stride=2, padding=1), IMAGE),
    ("AvgPool2d", lambda: nn.AvgPool2d(2), IMAGE),
    ("AdaptiveAvgPool2d 1", lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    ("AdaptiveAvgPool2d 3", lambda: nn.AdaptiveAvgPool2d(3), IMAGE),
    ("AdaptiveMaxPool2d 1", lambda: nn.AdaptiveMaxPool2d(1), IMAGE),
    ("LPPool2d", lambda: nn.LPPool2d(2, 2), IMAGE),
):
    plain(_POOL, title, make, shape)

for title, make, shape in (
    ("Flatten", lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.Flatten()), IMAGE),
    ("Upsample nearest", lambda: nn.Upsample(scale_factor=2), IMAGE),
    ("Upsample bilinear", lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    ("PixelShuffle", lambda: nn.PixelShuffle(2), IMAGE),
    ("PixelUnshuffle", lambda: nn.PixelUnshuffle(2), IMAGE),
    ("ChannelShuffle", lambda: nn.ChannelShuffle(4), IMAGE),
    ("ZeroPad2d", lambda: nn.ZeroPad2d(1), IMAGE),
    ("ConstantPad2d", lambda: nn.ConstantPad2d(2, 0.5), IMAGE),
    ("ReflectionPad2d", lambda: nn.ReflectionPad2d(2), IMAGE),
    ("ReplicationPad2d", lambda: nn.ReplicationPad2d(2), IMAGE),
    ("Unfold", lambda: nn.Unfold(3), IMAGE),
):
    plain(_SHAPE, title, make, shape)


@case(_SEQ, "Embedding", (1, 10), tokens=True)
def make_embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(VOCABULARY, 16), nn.Linear(16, 8))


@case(_SEQ, "EmbeddingBag", (1, 10), tokens=True)
def make_embedding_bag() -> nn.Module:
    return nn.EmbeddingBag(VOCABULARY, 16, mode="mean")


for kind in (nn.RNN, nn.GRU, nn.LSTM):
    plain(_SEQ, kind.__name__, lambda kind=kind: kind(16, 12, batch_first=True), SEQUENCE)
    both_ways = {"batch_first": True, "bidirectional": True}
    plain(_SEQ, f"{kind.__name__} bidirectional",
          lambda kind=kind, options=both_ways: kind(16, 12, **options), SEQUENCE)  # fmt: skip


@case(_SEQ, "MultiheadAttention", SEQUENCE)
def make_multihead_attention() -> nn.Module:
    attention = nn.MultiheadAttention(16, 4, batch_first=True)

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    return SelfAttention()


@case(_SEQ, "scaled_dot_product_attention, causal", SEQUENCE)
def make_causal_attention() -> nn.Module:
    attend = nn.functional.scaled_dot_product_attention
    return Apply(lambda x: attend(x, x, x, is_causal=True), nn.Linear(16, 16))


@case(_SEQ, "TransformerEncoderLayer", SEQUENCE)
def make_encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)


@case(_SEQ, "TransformerDecoderLayer", SEQUENCE, SEQUENCE)
def make_decoder_layer() -> nn.Module:
    return nn.TransformerDecoderLayer(16, 4, 32, dropout=0.0, batch_first=True)


@case(_BLOCK, "residual addition", IMAGE)
def make_residual() -> nn.Module:
    branch = nn.Conv2d(8, 8, 3, padding=1)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = branch

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.relu(x + self.branch(x))

    return Residual()


@case(_BLOCK, "concatenation", IMAGE)
def make_concatenation() -> nn.Module:
    return Apply(lambda y: torch.cat([y, nn.functional.relu(y)], 1), nn.Conv2d(8, 8, 1))


@case(_BLOCK, "split into halves (C2f)", IMAGE)
def make_halves() -> nn.Module:
    def halves(y: Tensor) -> Tensor:
        left, right = y.chunk(2, 1)
        return torch.cat([left, right, left + right], 1)

    return Apply(halves, nn.Conv2d(8, 8, 1))


@case(_BLOCK, "squeeze and excitation", IMAGE)
def make_squeeze() -> nn.Module:
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(),
                         nn.Conv2d(4, 8, 1), nn.Hardsigmoid())  # fmt: skip

    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = gate

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gate(x)

    return Squeeze()


@case(_BLOCK, "matrix product of two inputs", SEQUENCE, (1, 16, 6))
def make_matmul() -> nn.Module:
    return Apply(torch.matmul)


@case(_BLOCK, "grid_sample", IMAGE, (1, 6, 6, 2))
def make_grid_sample() -> nn.Module:
    return Apply(lambda x, grid: nn.functional.grid_sample(x, grid, align_corners=False))


@case(_BLOCK, "cumsum", SEQUENCE)
def make_cumsum() -> nn.Module:
    return Apply(lambda y: torch.cumsum(y, 1), nn.Linear(16, 16))


@case(_BLOCK, "topk", VECTOR)
def make_topk() -> nn.Module:
    return Apply(lambda y: torch.topk(y, 3).values, nn.Linear(16, 16))


@case(_BLOCK, "cosine similarity", VECTOR, VECTOR)
def make_cosine() -> nn.Module:
    return Apply(nn.functional.cosine_similarity)
