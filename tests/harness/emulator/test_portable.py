"""ExecuTorch's portable kernels in the emulator, against the runtime on this host."""

import platform
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from harness.emulator.formats import pte_all_tensors as expose_pte
from harness.emulator.formats.model_file import read_model
from harness.emulator.formats.pte import read_method
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.profiles import get_profile
from tests.oracle import programs
from tests.oracle.build import Array
from tests.oracle.kernel_families import EXACT, Call, Values, draw_kernels, floats
from tests.oracle.kernels import KernelBuilder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the profile of x86-64"),
]
PROFILE = get_profile("executorch-xnnpack-x86")


@pytest.fixture(scope="module", autouse=True)
def _executorch() -> None:
    pytest.importorskip("executorch.runtime")


def emulated(program: bytes, inputs: Sequence[Array]) -> tuple[list[str], Emulation]:
    """Promises of the outputs, and what the emulator gives."""
    graph = read_model(program).main
    found = emulate(graph, PROFILE, [x if x.ndim else x[None] for x in inputs])
    return [found.promises[i] for i in graph.outputs], found


def both(
    family: Callable[[Values], Iterator[Call]], seed: int
) -> Iterator[tuple[str, str, Array, Array]]:
    """Of each output: what gives it, its promise, the runtime's values and the emulator's."""
    builder = draw_kernels(family, seed)
    program = builder.finish()
    (expected,) = programs.run(program, [builder.inputs])
    promises, found = emulated(program, builder.inputs)
    for name, promise, x, y in zip(builder.names, promises, expected, found.outputs, strict=True):
        assert y is not None, name
        assert y.dtype == x.dtype, name
        yield name, promise, x, y.reshape(x.shape)


@pytest.mark.parametrize("family", EXACT)
@pytest.mark.parametrize("seed", [0, 1])
def test_integers_moves_and_choices_are_exact(family: str, seed: int) -> None:
    for name, promise, expected, got in both(EXACT[family], seed):
        assert promise == "exact", name
        np.testing.assert_array_equal(expected, got, err_msg=name)


def test_floats_are_close_and_say_so() -> None:
    for name, promise, expected, got in both(floats, 0):
        assert promise == "float", name
        np.testing.assert_allclose(expected, got, rtol=1e-4, atol=1e-5, err_msg=name)


def with_a_view() -> KernelBuilder:
    """A result that another call reads in another shape, where it lies."""
    builder = KernelBuilder()
    builder.call("aten.neg.default", np.arange(6, dtype=np.int32).reshape(2, 3))
    builder.call("aten.flip.default", builder.view(0, (3, 2)), [0])
    builder.call("aten.select_copy.int", builder.view(1, (6,)), 0, 4)
    return builder


def test_a_tensor_that_lies_where_another_does_is_a_reshape() -> None:
    builder = with_a_view()
    program = builder.finish()
    (expected,) = programs.run(program, [builder.inputs])
    promises, found = emulated(program, builder.inputs)
    assert promises == ["exact"] * 3
    for x, y in zip(expected, found.outputs, strict=True):
        assert y is not None
        np.testing.assert_array_equal(x, y.reshape(x.shape))
    method = read_method(program, where="view")
    assert [node.op for node in method.graph.nodes].count("RESHAPE") == len(method.views) == 2


def test_an_exposed_program_keeps_its_views() -> None:
    """What is read in another shape moves with what it shows."""
    import torch

    class Stepwise(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places = x.argmax(1).unsqueeze(2) + 1
            return (places * 3).reshape(-1).cumsum(0)

    program = programs.lower(Stepwise(), [(2, 4, 3)], quantized=False)
    method = read_method(program, where="stepwise")
    assert method.views
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    (seen,) = programs.run(expose_pte.expose_program(method), [[x]])
    found = emulate(method.graph, PROFILE, [x], all_tensors=True)
    wanted = expose_pte.exposed_tensors(method)
    assert len(seen) == len(wanted) > 2
    for index, y in zip(wanted, seen, strict=True):
        assert found.promises[index] == "exact"
        np.testing.assert_array_equal(y, found.tensors[index].reshape(y.shape))


def test_what_has_no_definition_is_named_and_the_rest_goes_on() -> None:
    builder = KernelBuilder()
    x = np.asarray([[0, 2], [3, 0]], np.int32)
    builder.call("aten.nonzero.default", x)
    builder.call("aten.neg.default", x)
    builder.call("aten.grid_sampler_2d.default", *_picture(), 2, 0, True)
    promises, found = emulated(builder.finish(), builder.inputs)
    assert promises == ["unknown", "exact", "unknown"]
    assert [(u.op, u.reason) for u in found.unknown] == [
        (
            "aten::nonzero, whose size depends on the data",
            "profile executorch-xnnpack-x86 has no entry for it",
        ),
        ("aten::grid_sampler_2d", "its interpolation is bicubic"),
    ]


def _picture() -> tuple[Array, Array]:
    return np.ones((1, 1, 3, 3), np.float32), np.zeros((1, 2, 2, 2), np.float32)


def test_a_foreign_delegate_is_one_unknown_node() -> None:
    """Another backend's name, or a node of XNNPACK that is not known: the file is still read."""
    program = programs.GOLDEN.with_suffix(".pte").read_bytes()
    other = program.replace(b"XnnpackBackend", b"ForeignBackend")
    graph = read_model(other).main
    x = np.zeros(graph.tensors[graph.inputs[0]].shape, np.float32)
    found = emulate(graph, PROFILE, [x])
    assert {found.promises[i] for i in graph.outputs} == {"unknown"}
    assert found.unknown[0].op == "backend ForeignBackend"
