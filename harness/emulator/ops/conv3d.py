"""CONV_3D of float32: a window that slides over a volume, NDHWC, weights DHWIO."""

import itertools
from dataclasses import dataclass

import numpy as np

from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    Run,
    Values,
    define,
    required,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import fused_activation, real_range

_AXES = ("d", "h", "w")


@dataclass(frozen=True)
class _Slide:
    """One spatial axis: how its windows lie."""

    output: int
    stride: int
    dilation: int
    before: int
    after: int


def _slide(call: Call, axis: int) -> _Slide:
    """Source: LiteRT kernels/conv3d.cc, Prepare; kernels/padding.h, ComputePadding3DValues."""
    options, name = call.node.options, _AXES[axis]
    size, window = call.input(0).shape[axis + 1], call.input(1).shape[axis]
    stride = int(options.get(f"stride_{name}", 1))
    dilation = int(options.get(f"dilation_{name}_factor", 1))
    if min(stride, dilation, window) < 1:
        raise CannotRun(f"window {window}, stride {stride}, dilation {dilation}: allowed >= 1")
    extent = (window - 1) * dilation + 1
    if options.get("padding", "SAME") == "SAME":
        output = -(-size // stride)
        total = max((output - 1) * stride + extent - size, 0)
        return _Slide(output, stride, dilation, total // 2, total - total // 2)
    output = (size - extent) // stride + 1
    if output < 1:
        raise CannotRun(f"a window of {extent} does not fit into {size}")
    return _Slide(output, stride, dilation, 0, 0)


def output_shape(call: Call) -> tuple[int, ...]:
    """(batch, depth, height, width, output channels)."""
    x, w = call.input(0).shape, call.input(1).shape
    if len(x) != 5 or len(w) != 5 or w[3] < 1 or x[4] != w[3]:
        raise CannotRun(f"{list(x)} with weights {list(w)}")
    return (x[0], *(_slide(call, axis).output for axis in range(3)), w[4])


OUTPUT_SHAPES["CONV_3D"] = output_shape


@define(["CONV_3D"], ["float"])
def bind_conv3d(call: Call) -> Run:
    """Sums of products in float32, the bias, the fused clamp; a product for each place in the
    window, so that no more than one more copy of the input is held.

    Source: LiteRT kernels/internal/reference/conv3d.h, Conv3D.
    """
    shape, slides = output_shape(call), [_slide(call, axis) for axis in range(3)]
    low, high = real_range(fused_activation(call))
    padding = [(0, 0), *((one.before, one.after) for one in slides), (0, 0)]

    def run(values: Values) -> tuple[Array]:
        x, w = np.pad(required(values[0]), padding), required(values[1])
        y = np.zeros(shape, np.float32)
        for place in itertools.product(*map(range, w.shape[:3])):
            starts = [at * one.dilation for at, one in zip(place, slides, strict=True)]
            taken = tuple(
                slice(start, start + (one.output - 1) * one.stride + 1, one.stride)
                for start, one in zip(starts, slides, strict=True)
            )
            y += x[(slice(None), *taken)] @ w[place]
        if len(values) > 2 and values[2] is not None:
            y += required(values[2])
        if low is not None or high is not None:
            y = np.clip(y, low, high)
        return (y.astype(np.float32),)

    return run
