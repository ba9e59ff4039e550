"""Every rounding on every level equals its definition, above all around ties and bounds."""

import numpy as np
import numpy.typing as npt
import pytest

from harness.arithmetic.requantize import ROUNDINGS, Requantization, requantize
from harness.emulator.core import available_levels
from harness.emulator.core.kernels import Accumulation, Window, make_convolution, make_depthwise

# S8 requantizes the 64-bit accumulators of int16 activations, which the core leaves alone.
ROUNDED_HERE = sorted(ROUNDINGS.keys() - {"S8"})
INT32 = np.iinfo(np.int32)
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}

pytestmark = pytest.mark.skipif(not available_levels(), reason="the core is not built")


def around_ties(real: float, zero_point: int) -> npt.NDArray[np.int64]:
    """Accumulators next to every tie within reach of the output, and the bounds of int32."""
    ties = np.arange(-2, 259) + 0.5 - zero_point + (-128 if zero_point < 0 else 0)
    near = np.rint(ties / real).astype(np.int64)[:, None] + np.arange(-2, 3)
    bounds = [INT32.min, INT32.min + 1, -1, 0, 1, INT32.max - 1, INT32.max]
    return np.clip(np.concatenate([near.reshape(-1), bounds]), INT32.min, INT32.max)


def real_multipliers(seed: int) -> npt.NDArray[np.float64]:
    """Random ones and dyadic ones, whose ties are exact."""
    rng = np.random.default_rng(seed)
    return np.concatenate([2.0 ** rng.uniform(-20, -0.1, 10), 2.0 ** -np.arange(1.0, 16, 2)])


def layer_of(
    rounding: str, reals: npt.NDArray[np.float64], dtype: str, zero_point: int
) -> tuple[Accumulation, npt.NDArray[np.int64]]:
    """One channel for each accumulator: with the input at its zero point, the bias alone counts."""
    accumulators = [around_ties(real, zero_point) for real in reals]
    counts = [len(a) for a in accumulators]
    multiplier, shift = (np.repeat(p, counts) for p in ROUNDINGS[rounding].encode(reals))
    acc = np.concatenate(accumulators)
    parameters = Requantization(rounding, multiplier, shift, zero_point, *LIMITS[dtype])
    layer = Accumulation(
        weights=np.zeros((len(acc), 1, 1, 1), dtype),
        weight_zero=0,
        bias=acc.astype(np.int32),
        input_dtype=dtype,
        input_zero=3,
        output_dtype=dtype,
        requantization=parameters,
    )
    return layer, acc


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("rounding", ROUNDED_HERE)
@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", -3), ("uint8", 130)])
def test_ties_and_bounds(level: str, rounding: str, dtype: str, zero_point: int) -> None:
    layer, acc = layer_of(rounding, real_multipliers(1), dtype, zero_point)
    window = Window(1, 1, 1, 1, 1, len(acc))
    kernel = make_convolution(level, window, 1, layer)
    got = kernel(np.full((1, 1, 1, 1), 3, dtype)).reshape(-1)
    np.testing.assert_array_equal(got, requantize(acc, layer.requantization))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("rounding", ROUNDED_HERE)
def test_ties_and_bounds_in_depthwise_order(level: str, rounding: str) -> None:
    layer, acc = layer_of(rounding, real_multipliers(2), "int8", -3)
    channels = len(acc)
    turned = Accumulation(**{**vars(layer), "weights": layer.weights.reshape(1, 1, 1, channels)})
    kernel = make_depthwise(level, Window(1, 1, channels, 1, 1, channels), turned)
    got = kernel(np.full((1, 1, 1, channels), 3, np.int8)).reshape(-1)
    np.testing.assert_array_equal(got, requantize(acc, layer.requantization))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("rounding", ["S1", "S2", "S5", "S7"])
def test_multipliers_of_one_and_more(level: str, rounding: str) -> None:
    reals = np.array([1.0, 1.5, 2.0, 3.7, 64.0])
    multiplier, shift = ROUNDINGS[rounding].encode(np.repeat(reals, 601))
    acc = np.tile(np.arange(-300, 301), len(reals))
    parameters = Requantization(rounding, multiplier, shift, 0, -128, 127)
    weights = np.zeros((len(acc), 1, 1, 1), np.int8)
    layer = Accumulation(weights, 0, acc.astype(np.int32), "int8", 0, "int8", parameters)
    kernel = make_convolution(level, Window(1, 1, 1, 1, 1, len(acc)), 1, layer)
    got = kernel(np.zeros((1, 1, 1, 1), np.int8)).reshape(-1)
    np.testing.assert_array_equal(got, requantize(acc, parameters))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("rounding", ["S3", "S4", "S6"])
def test_results_that_may_leave_32_bits_are_refused(level: str, rounding: str) -> None:
    multiplier, shift = ROUNDINGS[rounding].encode(np.array([2.0]))
    parameters = Requantization(rounding, multiplier, shift, 0, -128, 127)
    bias = np.array([INT32.max], np.int32)
    weights = np.zeros((1, 1, 1, 1), np.int8)
    layer = Accumulation(weights, 0, bias, "int8", 0, "int8", parameters)
    with pytest.raises(ValueError, match="leave 32 bits"):
        make_convolution(level, Window(1, 1, 1, 1, 1, 1), 1, layer)
