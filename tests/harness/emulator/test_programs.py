"""Reading `.pte` files and emulating them, against ExecuTorch itself on this host."""

import platform
from typing import Any

import numpy as np
import pytest

from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.model_file import read_model
from harness.emulator.profiles import get_profile
from tests.oracle import programs
from tests.oracle.build import Array
from tests.oracle.models import Draw, Style
from tests.oracle.payload_families import FAMILIES, draw_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the profile of x86-64"),
]
PROFILE = get_profile("executorch-xnnpack-x86")
NODES = 12
STYLES: tuple[Style, ...] = ("random", "dyadic", "ties")


@pytest.fixture(scope="module", autouse=True)
def _executorch() -> None:
    pytest.importorskip("executorch.runtime")


def emulated(program: bytes, inputs: list[Array]) -> tuple[list[str], Emulation]:
    """Promises of the outputs, and what the emulator gives."""
    graph = read_model(program).main
    found = emulate(graph, PROFILE, inputs)
    return [found.promises[i] for i in graph.outputs], found


def drawn(program: bytes, rng: np.random.Generator) -> list[Array]:
    """Inputs of all values that there are, or that a scale makes of them."""
    graph = read_model(program).main
    made: list[Array] = []
    for tensor in (graph.tensors[i] for i in graph.inputs):
        if tensor.dtype == "int8":
            made.append(rng.integers(-128, 128, tensor.shape).astype(np.int8))
        else:
            spread = rng.choice([0.1, 1, 10])
            made.append((rng.normal(size=tensor.shape) * spread).astype(np.float32))
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", STYLES)
def test_single_nodes_are_exact(family: str, style: Style) -> None:
    program = draw_program(family, NODES, Draw(7, style))
    inputs = drawn(program, np.random.default_rng(7))
    (expected,) = programs.run(program, [inputs])
    promises, found = emulated(program, inputs)
    assert promises == ["exact"] * NODES
    for x, y in zip(expected, found.outputs, strict=True):
        assert y is not None
        np.testing.assert_array_equal(x, y.reshape(x.shape))


def network() -> tuple[Any, list[tuple[int, ...]]]:
    """A module and its input shapes: inverted residuals with batch normalization, as MobileNetV2
    has them, and random weights."""
    import torch
    from torch import nn

    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        wide = inputs * 3
        return nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.first, self.second = block(8, 8, 1), block(8, 15, 2)
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(23, 10)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            x = x + self.first(x)
            y = self.second(x)
            y = torch.cat([y, nn.functional.max_pool2d(x, 2, 2)], 1)
            return self.head(self.pool(y).flatten(1)), y.mean((2, 3))

    torch.manual_seed(3)
    return Network(), [(1, 3, 16, 16)]


@pytest.fixture(scope="module")
def lowered() -> bytes:
    return programs.lower(*network())


def test_a_network_is_exact_end_to_end(lowered: bytes) -> None:
    rng = np.random.default_rng(0)
    batches = [drawn(lowered, rng) for _ in range(8)]
    promises, found = emulated(lowered, [np.concatenate([b[0] for b in batches])])
    assert promises == ["exact", "exact"]
    for number, x in enumerate(zip(*programs.run(lowered, batches), strict=True)):
        np.testing.assert_array_equal(np.concatenate(x), found.outputs[number])


def test_a_dynamically_quantized_network_is_exact() -> None:
    """Rows are quantized while it runs; linear layers give floats of which every bit is defined."""
    import torch

    torch.manual_seed(1)
    layers = [torch.nn.Linear(17, 33), torch.nn.ReLU(), torch.nn.Linear(33, 5, bias=False)]
    program = programs.lower(torch.nn.Sequential(*layers), [(3, 17)], dynamic=True)
    rng = np.random.default_rng(2)
    batches = [drawn(program, rng) for _ in range(8)]
    promises, found = emulated(program, [np.concatenate([b[0] for b in batches])])
    assert promises == ["exact"]
    expected = np.concatenate([y[0] for y in programs.run(program, batches)])
    np.testing.assert_array_equal(expected, found.outputs[0])
