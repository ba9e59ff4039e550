"""Float ops run, close to the runtime's: marked float, and measured in ULP."""

from typing import Any

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.judge.compare import compare_tensor
from tests.oracle.build import options
from tests.oracle.models import Model
from tests.oracle.moves import single
from tests.oracle.runtimes import run

SHAPE = (2, 3, 5, 7)
UNARY: dict[str, Any] = {
    "TANH": None,
    "GELU": options("Gelu", approximate=False),
    "EXP": None,
    "ABS": None,
    "NEG": None,
    "SQUARE": None,
    "FLOOR": None,
    "SIN": None,
    "COS": None,
    "HARD_SWISH": None,
    "L2_NORMALIZATION": options("L2Norm"),
    "LOG_SOFTMAX": None,
    "LEAKY_RELU": options("LeakyRelu", alpha=0.3),
}
BINARY = {
    "DIV": options("Div"),
    "MINIMUM": options("MaximumMinimum"),
    "MAXIMUM": options("MaximumMinimum"),
    "SQUARED_DIFFERENCE": options("SquaredDifference"),
}
MOST_ULP = 256
"""Of outputs away from 0; beside it a small error is many ULP."""


def check(model: Model) -> None:
    inputs, graph = model.sample(1), read_tflite(model.data).main
    answer = run(model.data, inputs, "reference")
    assert answer.error == ""
    emulation = emulate(graph, get_profile("litert-ref"), inputs)
    (output,), (y,) = graph.outputs, emulation.outputs
    assert emulation.promises[output] == "float"
    assert y is not None
    got = answer.tensors[output].reshape(y.shape)
    far = np.abs(y) > 1e-2
    one = compare_tensor("y", y[far], got[far], "float")
    assert one.max_lsb is not None
    assert one.max_lsb <= MOST_ULP
    np.testing.assert_allclose(y[~far], got[~far], atol=1e-6)


@pytest.mark.parametrize("op", UNARY)
def test_a_function_of_one_tensor(op: str) -> None:
    check(single(op, 0, "float32", [SHAPE], [SHAPE], made=UNARY[op]))


@pytest.mark.parametrize("op", BINARY)
def test_a_function_of_two_tensors(op: str) -> None:
    check(single(op, 0, "float32", [SHAPE, SHAPE], [SHAPE], made=BINARY[op]))


@pytest.mark.parametrize("half", [False, True])
def test_a_resize(half: bool) -> None:
    made = options("ResizeBilinear", alignCorners=False, halfPixelCenters=half)
    result, size = (2, 7, 9, 7), ([7, 9], "int32")
    check(single("RESIZE_BILINEAR", 0, "float32", [SHAPE], [result], constants=[size], made=made))
