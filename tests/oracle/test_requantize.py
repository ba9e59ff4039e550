"""The judge judged: its formulas against the runtimes, accumulator by accumulator.

With every input element at its zero point the accumulator of an output channel is its bias.
"""

import platform

import numpy as np
import pytest

from tests.oracle.build import Builder, Quant, options, per_tensor
from tests.oracle.requantize import SEMANTICS, quantize_multiplier
from tests.oracle.runtimes import Kernels, Request, run_all

CHANNELS = 4096
ZERO_IN = 7
SCALES = {True: (0.5, 0.25), False: (float(np.float32(0.37)), float(np.float32(0.21)))}
"""Input and output scale, dyadic or not."""


def accumulators(scales: list[float], dyadic: bool) -> list[int]:
    """For every channel one that lands within int8, half of them on or next to a tie."""
    s_in, s_out = SCALES[dyadic]
    rng = np.random.default_rng(3)
    chosen = []
    for channel, scale in enumerate(scales):
        target = rng.uniform(-110, 110)
        if channel % 2:
            target = np.floor(target) + 0.5
        chosen.append(int(np.rint(target / (s_in * scale / s_out))) + int(rng.integers(-1, 2)))
    return chosen


def weight_scales(dyadic: bool) -> list[float]:
    rng = np.random.default_rng(5)
    exponents = rng.uniform(-24, -4, CHANNELS)
    return [float(np.float32(2.0 ** (np.round(e) if dyadic else e))) for e in exponents]


def bias_model(op: str, scales: list[float], biases: list[int], dyadic: bool) -> bytes:
    s_in, s_out = SCALES[dyadic]
    builder = Builder()
    shape = (1, 1, 1, 1) if op == "CONV_2D" else (1, 1)
    x = builder.tensor(shape, "int8", per_tensor(s_in, ZERO_IN))
    w = builder.constant(
        np.ones((CHANNELS, *shape[1:])), "int8", Quant(tuple(scales), (0,) * CHANNELS, 0)
    )
    bias_scales = tuple(s_in * scale for scale in scales)
    bias = builder.constant(biases, "int32", Quant(bias_scales, (0,) * CHANNELS, 0))
    out = builder.tensor((*shape[:-1], CHANNELS), "int8", per_tensor(s_out))
    if op == "CONV_2D":
        made = options(
            "Conv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1, padding=1
        )
    else:
        made = options("FullyConnected")
    builder.op(op, [x, w, bias], [out], made)
    return builder.finish([x], [out])


ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")


@pytest.mark.parametrize("dyadic", [False, True])
@pytest.mark.parametrize(
    ("op", "kernels", "semantics"),
    [
        ("CONV_2D", "reference", "S1"),
        ("FULLY_CONNECTED", "reference", "S4"),
        pytest.param("CONV_2D", "builtin", "S2", marks=ON_X86),
        pytest.param("CONV_2D", "xnnpack", "S5", marks=ON_X86),
    ],
)
def test_formula_is_what_the_runtime_computes(
    op: str, kernels: Kernels, semantics: str, dyadic: bool
) -> None:
    scales = weight_scales(dyadic)
    biases = accumulators(scales, dyadic)
    s_in, s_out = SCALES[dyadic]
    x = np.full((1, 1, 1, 1) if op == "CONV_2D" else (1, 1), ZERO_IN, np.int8)
    answer = run_all(
        [Request(bias_model(op, scales, biases, dyadic), (x,), kernels, all_tensors=False)]
    )[0]
    assert answer.error == ""
    assert answer.delegated == (kernels == "xnnpack")
    (got,) = answer.tensors.values()

    if semantics == "S5":
        reals = [float(np.float32(s_in) * np.float32(s) / np.float32(s_out)) for s in scales]
    else:
        reals = [s_in * s / s_out for s in scales]
    formula = SEMANTICS[semantics]
    expected = [
        max(-128, min(127, formula(acc, real))) for acc, real in zip(biases, reals, strict=True)
    ]
    assert got.ravel().tolist() == expected


def test_the_chosen_accumulators_tell_the_semantics_apart() -> None:
    separated = set()
    for dyadic in (False, True):
        scales = weight_scales(dyadic)
        s_in, s_out = SCALES[dyadic]
        for acc, scale in zip(accumulators(scales, dyadic), scales, strict=True):
            values = {name: f(acc, s_in * scale / s_out) for name, f in SEMANTICS.items()}
            separated |= {
                (a, b) for a in values for b in values if a < b and values[a] != values[b]
            }
    assert len(separated) == 7 * 6 // 2


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (0.5, (1 << 30, 0)),
        (1.0, (1 << 30, 1)),
        (1.0 - 2.0**-40, (1 << 30, 1)),  # the fraction rounds up to 2^31
        (2.0**-40, (0, 0)),
    ],
)
def test_quantize_multiplier(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    # the real value is -2.5: the tie goes away from zero, up, or to even
    [("S1", -3), ("S2", -2), ("S3", -2), ("S4", -3), ("S5", -2), ("S6", -2), ("S7", -2)],
)
def test_ties(name: str, expected: int) -> None:
    assert SEMANTICS[name](-20, 0.125) == expected
