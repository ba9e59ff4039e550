"""XNNPACK's deconvolution: each input pixel adds its products to a window of the output."""

from dataclasses import dataclass

import numpy as np

from harness.emulator.definitions import OUTPUT_SHAPES, Call, CannotRun
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import Products, define_accumulating
from harness.emulator.ops.shape import check_size

DECONVOLUTION = "XNNPACK deconvolution"


@dataclass(frozen=True)
class _Axis:
    """One dimension: what windows reach, from before the output to behind it.

    Attributes:
        size: of the input.
        made: of the output.
        before: what lies before the output.
        stride, dilation: of the windows.
        whole: all that they reach.
    """

    size: int
    made: int
    before: int
    stride: int
    dilation: int
    whole: int


def _axes(call: Call) -> tuple[_Axis, _Axis]:
    """Height and width. Source: XNNPACK src/operators/deconvolution-nhwc.c."""
    options, image, weights = call.node.options, call.input(0).shape, call.input(1).shape
    if len(image) != 4 or len(weights) != 4 or not weights[3] or image[3] % weights[3]:
        raise CannotRun(f"weights of shape {list(weights)} on {list(image)}")
    if weights[0] % (image[3] // weights[3] or 1):
        raise CannotRun(f"{weights[0]} output channels in {image[3] // weights[3]} groups")

    def axis(index: int, name: str) -> _Axis:
        stride, dilation = int(options[f"stride_{name}"]), int(options[f"dilation_{name}_factor"])
        before, after = options[f"padding_{name}"]
        if min(stride, dilation, weights[index]) < 1 or not image[index]:
            raise CannotRun(f"a window {weights[index]} by {stride}, dilated {dilation}")
        whole = (image[index] - 1) * stride + (weights[index] - 1) * dilation + 1
        made = whole + int(options[f"adjustment_{name}"]) - before - after
        if made < 1:
            raise CannotRun(f"a border of {before} and {after} around {whole}")
        return _Axis(image[index], made, before, stride, dilation, max(whole, before + made))

    return axis(1, "h"), axis(2, "w")


def output_shape(call: Call) -> tuple[int, ...]:
    """Batch, height, width, channels."""
    height, width = _axes(call)
    return (call.input(0).shape[0], height.made, width.made, call.input(1).shape[0])


def bind_products(call: Call) -> Products:
    """Products: weights (outputs, height, width, inputs / groups)."""
    height, width = _axes(call)
    outputs, window_h, window_w, depth = call.input(1).shape
    groups = call.input(0).shape[3] // depth
    check_size((call.input(0).shape[0], height.whole, width.whole, outputs))

    def places(axis: _Axis, number: int) -> slice:
        start = number * axis.dilation
        return slice(start, start + (axis.size - 1) * axis.stride + 1, axis.stride)

    def products(x: Array, w: Array) -> Array:
        parts = []
        for image, kernel in zip(np.split(x, groups, 3), np.split(w, groups), strict=True):
            whole = np.zeros((len(x), height.whole, width.whole, outputs // groups), x.dtype)
            for row in range(window_h):
                for column in range(window_w):
                    where = (slice(None), places(height, row), places(width, column))
                    whole[where] += image @ kernel[:, row, column].T
            top, left = height.before, width.before
            parts.append(whole[:, top : top + height.made, left : left + width.made])
        return np.concatenate(parts, 3)

    return products


OUTPUT_SHAPES[DECONVOLUTION] = output_shape
define_accumulating(DECONVOLUTION, bind_products, axis=0)
