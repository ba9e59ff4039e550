"""Reading `.pte` files and emulating them, against ExecuTorch itself on this host."""

import platform

import numpy as np
import pytest

from harness.emulator.formats.model_file import read_model
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.profiles import get_profile
from tests.evidence.programs import drawn_inputs
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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", STYLES)
def test_single_nodes_are_exact(family: str, style: Style) -> None:
    program = draw_program(family, NODES, Draw(7, style))
    inputs = drawn_inputs(program, np.random.default_rng(7))
    (expected,) = programs.run(program, [inputs])
    promises, found = emulated(program, inputs)
    assert promises == ["exact"] * NODES
    for x, y in zip(expected, found.outputs, strict=True):
        assert y is not None
        np.testing.assert_array_equal(x, y.reshape(x.shape))


@pytest.fixture(scope="module")
def lowered() -> bytes:
    return programs.lower(*programs.network())


def test_a_network_is_exact_end_to_end(lowered: bytes) -> None:
    rng = np.random.default_rng(0)
    batches = [drawn_inputs(lowered, rng) for _ in range(8)]
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
    batches = [drawn_inputs(program, rng) for _ in range(8)]
    promises, found = emulated(program, [np.concatenate([b[0] for b in batches])])
    assert promises == ["exact"]
    expected = np.concatenate([y[0] for y in programs.run(program, batches)])
    np.testing.assert_array_equal(expected, found.outputs[0])


def test_portable_kernels_are_exact() -> None:
    program = programs.BESIDE.read_bytes()
    x = np.random.default_rng(3).normal(size=(2, 3, 5)).astype(np.float32)
    (expected,) = programs.run(program, [[x]])
    promises, found = emulated(program, [x])
    assert promises == ["exact"] * 8 + ["float"] * 3
    for y, got in zip(expected[:8], found.outputs, strict=False):
        np.testing.assert_array_equal(y, got)
    for y, got in zip(expected[8:], found.outputs[8:], strict=True):
        np.testing.assert_allclose(y, got, rtol=1e-4, atol=1e-5)
