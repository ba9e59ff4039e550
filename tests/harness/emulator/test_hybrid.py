"""Hybrid ops on this host where rows of activations lie on ties, beyond what a draw meets."""

import platform

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from tests.oracle.build import Builder, Quant, options
from tests.oracle.hybrid_families import around_dot_products, rows_on_ties
from tests.oracle.kernel_choice import assert_exact
from tests.oracle.matmul import batch_matmul
from tests.oracle.runtimes import Kernels, Request, run_all

PROFILES: dict[str, Kernels] = {
    "litert-ref": "reference",
    "litert-builtin-x86": "builtin",
    "litert-xnnpack-x86": "xnnpack",
}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")


@pytest.mark.parametrize("profile", PROFILES)
def test_rows_on_ties(profile: str) -> None:
    work = [(m, rows_on_ties(m)) for m in around_dot_products()]
    answers = run_all([Request(m.data, x, PROFILES[profile]) for m, x in work])
    for (model, x), answer in zip(work, answers, strict=True):
        assert_exact(model, x, answer, profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("depth", [512, 519, 521, 4099])
def test_sums_that_float32_cannot_hold(profile: str, depth: int) -> None:
    """Rows of one sign at the ends of the range, so that sums lie beyond 2^24 and are odd."""
    rng = np.random.default_rng(depth)
    builder = Builder()
    x, y = builder.tensor((4, depth), "float32"), builder.tensor((4, 3), "float32")
    values = rng.integers(120, 128, (3, depth))
    weights = builder.constant(values, "int8", Quant((0.5, 0.25, 2.0), (0, 0, 0), 0))
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y], options("FullyConnected"), version=9)
    data = builder.finish([x], [y])
    rows = rng.uniform(120, 127, (4, depth)).astype(np.float32)
    emulation = emulate(read_tflite(data).main, get_profile(profile), [rows])
    (answer,) = run_all([Request(data, (rows,), PROFILES[profile])])
    np.testing.assert_array_equal(emulation.outputs[0], answer.tensors[y])


@pytest.mark.parametrize(("lowest", "known"), [(-127, True), (-128, False)])
def test_a_weight_whose_sign_the_kernel_cannot_turn_is_not_promised(
    lowest: int, known: bool
) -> None:
    builder = Builder()
    x, y = builder.tensor((1, 16), "float32"), builder.tensor((1, 1), "float32")
    weights = builder.constant(np.full((1, 16), lowest), "int8", Quant((1.0,), (0,)))
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y], options("FullyConnected"), version=9)
    data, row = builder.finish([x], [y]), np.full((1, 16), -1, np.float32)
    emulation = emulate(read_tflite(data).main, get_profile("litert-builtin-x86"), [row])
    assert (emulation.outputs[0] is not None) == known
    (answer,) = run_all([Request(data, (row,), "builtin")])
    assert (answer.tensors[y].item() > 0) == known


def test_the_delegate_multiplies_by_no_computed_factor() -> None:
    model = batch_matmul(dtypes=("float32", "int8", "float32"), symmetric=True)
    x, w = model.sample(0)
    emulation = emulate(read_tflite(model.data).main, get_profile("litert-xnnpack-x86"), (x, w))
    assert list(emulation.promises.values())[-1] == "assumed"
    (answer,) = run_all([Request(model.data, (x, w), "xnnpack", again=((x, w + 1),))])
    assert answer.delegated == 1
    for tensor, got in answer.calls[0].items():
        np.testing.assert_array_equal(got, answer.calls[1][tensor])
