"""TRANSPOSE_CONV: each input pixel adds its products to a window of the output."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.arithmetic.requantize import requantize
from harness.emulator.definitions import (
    ACCUMULATORS,
    BY_VALUE,
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
)
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import (
    Products,
    define_accumulating,
    rearrange,
    requantization,
)

_PLACES = (2, 1, 3)
"""Of the image, the weights and the bias among the inputs; the first input is the output's size."""


def output_shape(call: Call) -> tuple[int, ...]:
    """The first input."""
    size = call.input(0).data
    if size is None:
        raise NoDefinition("its output's size has no value")
    shape = tuple(int(n) for n in size.reshape(-1))
    image, weights = call.input(2).shape, call.input(1).shape
    if len(image) != 4 or len(weights) != 4 or len(shape) != 4 or min(shape) < 1:
        raise CannotRun(f"{list(image)} with {list(weights)} to {list(shape)}")
    if (shape[0], shape[3]) != (image[0], weights[0]) or image[3] != weights[3]:
        raise CannotRun(f"{list(image)} with {list(weights)} to {list(shape)}")
    return shape


def _paddings(call: Call, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(stride, padding before) of height and width, as of the convolution from the output back to
    the input.

    Source: LiteRT kernels/transpose_conv.cc, Eval; kernels/padding.h.
    """
    options, image, weights = call.node.options, call.input(2).shape, call.input(1).shape
    same = options.get("padding", "SAME") == "SAME"

    def axis(index: int, name: str) -> tuple[int, int]:
        stride = int(options.get(f"stride_{name}", 1))
        size, window = shape[index], weights[index]
        if stride < 1:
            raise CannotRun(f"stride {stride}, allowed: >= 1")
        steps = -(-size // stride) if same else -(-(size - window + 1) // stride)
        if steps != image[index]:
            raise CannotRun(f"an input of {image[index]} for an output of {size}: expected {steps}")
        over = max((steps - 1) * stride + window - size, 0) if same else 0
        return stride, over // 2

    return axis(1, "h"), axis(2, "w")


@dataclass(frozen=True)
class Scatter:
    """Where the input's pixels add to: the output with all that windows reach beyond it.

    Attributes:
        shape: of the output.
        whole: its height and width with what windows reach.
        size: height and width of the input.
        strides: of height and width.
        before: what windows reach before the output.
    """

    shape: tuple[int, ...]
    whole: tuple[int, int]
    size: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    def zeros(self, dtype: npt.DTypeLike) -> Array:
        """What to add to."""
        return np.zeros((self.shape[0], *self.whole, self.shape[3]), dtype)

    def window(self, whole: Array, row: int, column: int) -> Array:
        """The places, one for each input pixel, that this weight of the window adds to."""
        ends = (n + (self.size[i] - 1) * self.strides[i] + 1 for i, n in enumerate((row, column)))
        bottom, right = ends
        return whole[:, row : bottom : self.strides[0], column : right : self.strides[1]]

    def crop(self, whole: Array) -> Array:
        """The output alone."""
        (top, left), (_, height, width, _) = self.before, self.shape
        return whole[:, top : top + height, left : left + width]


def bind_scatter(call: Call) -> Scatter:
    """The geometry of a call."""
    shape = output_shape(call)
    (stride_h, top), (stride_w, left) = _paddings(call, shape)
    _, window_h, window_w, _ = call.input(1).shape
    _, height, width, _ = call.input(2).shape
    rows, columns = (height - 1) * stride_h + window_h, (width - 1) * stride_w + window_w
    if rows * columns > 4 * (shape[1] + window_h) * (shape[2] + window_w):
        raise CannotRun(f"windows over {rows} x {columns} for an output of {shape[1]} x {shape[2]}")
    whole = (max(rows, top + shape[1]), max(columns, left + shape[2]))
    return Scatter(shape, whole, (height, width), (stride_h, stride_w), (top, left))


def bind_products(call: Call) -> Products:
    """Products of TRANSPOSE_CONV: weights (outputs, height, width, inputs)."""
    place, (_, window_h, window_w, depth) = bind_scatter(call), call.input(1).shape

    def products(x: Array, w: Array) -> Array:
        whole = place.zeros(x.dtype)
        for row in range(window_h):
            for column in range(window_w):
                part = x.reshape(-1, depth) @ w[:, row, column].T
                place.window(whole, row, column)[...] += part.reshape(*x.shape[:3], -1)
        return place.crop(whole)

    return products


BY_VALUE["TRANSPOSE_CONV"] = (0,)
OUTPUT_SHAPES["TRANSPOSE_CONV"] = output_shape
define_accumulating("TRANSPOSE_CONV", bind_products, axis=0, places=_PLACES)


@define(["TRANSPOSE_CONV"], ["S2-blocks-of-8:double", "S2-blocks-of-16:product"])
def bind_blocks(call: Call) -> Run:
    """S2 in whole blocks, S1 in the rest: of 8 channels, or of 16 elements of the whole output.

    Source: LiteRT kernels/internal/optimized/integer_ops/transpose_conv.h and optimized_ops.h,
    TransposeConvV2 and Quantize with USE_NEON (on x86 through SSE).
    """
    accumulate, weighted = ACCUMULATORS[call.node.op](call), rearrange(call, _PLACES)
    precision = call.semantics.partition(":")[2]
    block, rest = (
        requantization(replace(weighted, semantics=f"{s}:{precision}")) for s in ("S2", "S1")
    )
    shape, dtype = output_shape(call), np.dtype(call.output.dtype)
    if precision == "double":
        body = np.arange(shape[3]) < shape[3] // 8 * 8
    else:
        size = int(np.prod(shape))
        body = (np.arange(size) < size // 16 * 16).reshape(shape)

    def run(values: Values) -> tuple[Array]:
        acc = accumulate(values)
        return (np.where(body, requantize(acc, block), requantize(acc, rest)).astype(dtype),)

    return run
