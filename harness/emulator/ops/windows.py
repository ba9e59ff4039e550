"""Windows of 2-D convolutions and pools over NHWC arrays."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.emulator.definitions import Call, CannotRun
from harness.emulator.graph import Array

_CHUNK_ELEMENTS = 1 << 22
_PADDED_ELEMENTS = 1 << 27


@dataclass(frozen=True)
class Axis:
    """One spatial dimension of a window: sizes in elements."""

    size: int
    window: int
    stride: int
    dilation: int
    before: int
    after: int
    output: int


@dataclass(frozen=True)
class Windows:
    """Where the windows of an op lie."""

    height: Axis
    width: Axis


def make_windows(call: Call, window: tuple[int, int]) -> Windows:
    """The windows of a node from its options.

    SAME gives ``ceil(size / stride)`` outputs and pads ``max((outputs - 1) * stride + extent -
    size, 0)``, the smaller half before; VALID pads nothing; EXPLICIT says (before, after).

    Source: LiteRT kernels/padding.h, ComputeOutSize and ComputePaddingHeightWidth.
    """
    shape = call.input(0).shape
    if len(shape) != 4:
        raise CannotRun(f"its input has {len(shape)} dimensions, allowed: 4")
    options = call.node.options
    same = options.get("padding", "SAME") == "SAME"

    def axis(size: int, window: int, name: str) -> Axis:
        stride = int(options.get(f"stride_{name}", 1))
        dilation = int(options.get(f"dilation_{name}_factor", 1))
        if stride < 1 or dilation < 1 or window < 1:
            raise CannotRun(f"window {window}, stride {stride}, dilation {dilation}: allowed >= 1")
        extent = (window - 1) * dilation + 1
        if options.get("padding") == "EXPLICIT":
            before, after = options[f"padding_{name}"]
            output = (size + before + after - extent) // stride + 1
            if output < 1:
                raise CannotRun(f"a window of {extent} does not fit into {before}+{size}+{after}")
            return Axis(size, window, stride, dilation, before, after, output)
        output = -(-size // stride) if same else -(-(size - extent + 1) // stride)
        if output < 1:
            raise CannotRun(f"a window of {extent} does not fit into {size}")
        padding = max((output - 1) * stride + extent - size, 0) if same else 0
        return Axis(size, window, stride, dilation, padding // 2, padding - padding // 2, output)

    return Windows(axis(shape[1], window[0], "h"), axis(shape[2], window[1], "w"))


def windows_shape(call: Call, windows: Windows, channels: int) -> tuple[int, ...]:
    """Shape of what an op over windows makes."""
    return (call.input(0).shape[0], windows.height.output, windows.width.output, channels)


def pad(x: Array, windows: Windows, fill: float) -> Array:
    """`x` with the windows' padding around it."""
    height, width = windows.height, windows.width
    if not (height.before or height.after or width.before or width.after):
        return x
    widths = ((0, 0), (height.before, height.after), (width.before, width.after), (0, 0))
    padded = [d + b + a for d, (b, a) in zip(x.shape, widths, strict=True)]
    if math.prod(padded) > _PADDED_ELEMENTS:
        raise CannotRun(
            f"its padded input has shape {padded}, allowed: {_PADDED_ELEMENTS} elements"
        )
    return surround(x, widths, fill)


def surround(x: Array, widths: Sequence[tuple[int, int]], fill: float) -> Array:
    """`x` with a border of one value: (before, after) for each axis. As np.pad, but without the
    tenth of a millisecond that one needs to find out what is wanted."""
    shape = [before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)]
    y = np.full(shape, fill, x.dtype)
    y[tuple(slice(b, b + size) for size, (b, _) in zip(x.shape, widths, strict=True))] = x
    return y


def taps(x: Array, windows: Windows, fill: float) -> Iterator[tuple[int, int, Array]]:
    """For each place in the window: its row, its column, and what all windows see there.

    The arrays are views of shape (batch, output height, output width, channels).
    """
    padded = pad(x, windows, fill)
    height, width = windows.height, windows.width
    for row in range(height.window):
        top = row * height.dilation
        rows = slice(top, top + (height.output - 1) * height.stride + 1, height.stride)
        for column in range(width.window):
            left = column * width.dilation
            columns = slice(left, left + (width.output - 1) * width.stride + 1, width.stride)
            yield row, column, padded[:, rows, columns]


def patches(x: Array, windows: Windows) -> Iterator[tuple[int, int, Array]]:
    """im2col by bands of output rows, so that memory stays bounded; padding reads 0.

    Yields:
        (first row, last row + 1, array of shape (batch, rows, output width, window elements *
        channels)), the last axis ordered (row, column, channel) as the weights are.
    """
    padded = pad(x, windows, 0)
    height, width = windows.height, windows.width
    extent = (
        (height.window - 1) * height.dilation + 1,
        (width.window - 1) * width.dilation + 1,
    )
    seen = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(1, 2))
    seen = seen[:, :: height.stride, :: width.stride, :, :: height.dilation, :: width.dilation]
    seen = seen[:, : height.output, : width.output].transpose(0, 1, 2, 4, 5, 3)
    row_elements = max(1, math.prod(seen.shape) // height.output)
    if row_elements > _PADDED_ELEMENTS:
        raise CannotRun(f"one row of windows has {row_elements} elements")
    band = max(1, _CHUNK_ELEMENTS // row_elements)
    for first in range(0, height.output, band):
        part = seen[:, first : first + band]
        yield first, first + part.shape[1], part.reshape(*part.shape[:3], -1)
