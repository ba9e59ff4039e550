"""Windows larger than what they look at, and states that damaged files begin with."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.ops.pool import count_inside
from harness.emulator.ops.windows import Axis, Windows, taps
from harness.emulator.profiles import get_profile
from harness.emulator.steps import initial_state
from harness.errors import ModelError
from tests.oracle import recurrent

REF = get_profile("litert-ref")


def same(size: int, window: int, stride: int, dilation: int) -> Axis:
    outputs = -(-size // stride)
    padding = max((outputs - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return Axis(size, window, stride, dilation, padding // 2, padding - padding // 2, outputs)


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_the_elements_inside_are_counted_without_looking_at_each(dilation: int) -> None:
    for size, window, stride in product((1, 2, 5, 9), (1, 2, 3, 7, 12), (1, 2, 3, 14)):
        windows = Windows(same(size, window, stride, dilation), same(4, 2, 1, 1))
        ones = np.ones((1, size, 4, 1), np.int64)
        seen = sum(part for _, _, part in taps(ones, windows, 0))
        np.testing.assert_array_equal(count_inside(windows), seen)


def test_a_state_begins_with_the_low_byte_of_its_zero_point() -> None:
    graph = read_tflite(recurrent.lstm()).main
    (index,) = (t.index for t in graph.tensors if t.variable and t.dtype == "int8")
    state = graph.tensors[index]
    assert state.quantization is not None
    far = replace(state.quantization, zero_points=np.array([-551], np.int64))
    tensors = list(graph.tensors)
    tensors[index] = replace(state, quantization=far)
    began = initial_state(replace(graph, tensors=tuple(tensors)))[index]
    assert set(began.reshape(-1).tolist()) == {-39}


def test_an_svdf_of_no_batches_is_a_model_error() -> None:
    graph = read_tflite(recurrent.svdf()).main
    tensors = list(graph.tensors)
    tensors[graph.inputs[0]] = replace(tensors[graph.inputs[0]], shape=())
    damaged = replace(graph, tensors=tuple(tensors))
    with pytest.raises(ModelError, match="dimensions, allowed: 2"):
        emulate(damaged, REF, [np.array(3, np.int8)])
