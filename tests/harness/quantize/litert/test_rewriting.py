"""What is written with other operators before a conversion computes the same as before."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from harness.quantize.litert.rewriting import convertible  # noqa: E402

pytestmark = pytest.mark.slow


class Alphas(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def forward(self, x: Any, y: Any) -> Any:
        z = torch.sub(torch.add(x, y, alpha=10), x, alpha=3)
        return torch.rsub(z, y, alpha=0.5).add_(x, alpha=2) + torch.add(x, 2.0, alpha=3)


def deconv(*args: Any, **kwargs: Any) -> tuple[Any, tuple[Any, ...]]:
    return nn.ConvTranspose2d(*args, **kwargs), (torch.randn(2, args[0], 5, 7),)


REWRITTEN = {
    "alpha": lambda: (Alphas(), (torch.randn(2, 8), torch.randn(2, 8))),
    "same, even": lambda: (nn.Conv1d(2, 4, 4, padding="same"), (torch.randn(2, 2, 16),)),
    "same, odd": lambda: (nn.Conv1d(2, 4, 3, padding="same", bias=False), (torch.randn(1, 2, 9),)),
    "same, dilated": lambda: (
        nn.Conv1d(2, 4, 4, padding="same", dilation=3, groups=2),
        (torch.randn(1, 2, 30),),
    ),
    "valid": lambda: (nn.Conv1d(2, 4, 4, padding="valid", stride=2), (torch.randn(1, 2, 9),)),
    "same, 3-D": lambda: (
        nn.Conv3d(2, 4, (2, 3, 4), padding="same"),
        (torch.randn(1, 2, 4, 5, 6),),
    ),
    "output padding": lambda: deconv(4, 6, 3, stride=2, padding=1, output_padding=1),
    "cut": lambda: deconv(4, 6, (1, 5), stride=(1, 2), padding=(0, 2), groups=2),
    "more than was cut": lambda: deconv(4, 6, 3, stride=2, padding=(0, 1), output_padding=1),
    "without a bias": lambda: deconv(4, 6, 3, stride=3, output_padding=2, bias=False),
    "dilated": lambda: deconv(4, 4, (3, 2), stride=2, padding=1, dilation=(2, 3)),
    "1-D": lambda: (
        nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1),
        (torch.randn(1, 4, 9),),
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_numbers_stay(name: str) -> None:
    torch.manual_seed(0)
    module, examples = REWRITTEN[name]()
    changed = convertible(module.eval(), examples)
    assert changed is not module
    with torch.no_grad():
        torch.testing.assert_close(changed(*examples), module(*examples), rtol=1e-6, atol=1e-6)
    ops = [str(node.target) for node in changed.graph.nodes]
    assert not any(op.endswith(".padding") for op in ops)
    assert not any("alpha" in node.kwargs for node in changed.graph.nodes)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (1, 4, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, padding=1, dilation=2), (1, 4, 5, 5)),
        (nn.Conv2d(4, 6, 4, padding="same"), (1, 4, 5, 5)),
    ],
)
def test_what_converts_is_left_as_it_is(module: Any, shape: tuple[int, ...]) -> None:
    assert convertible(module.eval(), (torch.randn(shape),)) is module


def test_what_was_rewritten_converts_and_runs() -> None:
    """One net with every kind: three transposed convolutions, a padded one, and an alpha."""
    litert_torch = pytest.importorskip("litert_torch")

    class Net(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
            self.wide = nn.ConvTranspose2d(4, 4, (1, 5), stride=(1, 2), padding=(0, 2), groups=2)
            self.spread = nn.ConvTranspose2d(4, 4, 2, stride=2, dilation=2)
            self.line = nn.Conv1d(4, 4, 4, padding="same")

        def forward(self, x: Any) -> Any:
            y = self.spread(self.wide(self.up(x)))
            return torch.add(self.line(y.flatten(2)), y.flatten(2), alpha=3)

    torch.manual_seed(0)
    module, x = Net().eval(), torch.randn(1, 4, 3, 3)
    ran = litert_torch.convert(convertible(module, (x,)), (x,))(x)
    torch.testing.assert_close(torch.from_numpy(ran), module(x).detach(), rtol=1e-5, atol=1e-5)
