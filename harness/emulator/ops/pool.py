"""AVERAGE_POOL_2D and MAX_POOL_2D."""

import numpy as np

from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import (
    clamp_float,
    fused_activation,
    tflite_clamp,
    xnnpack_clamp,
)
from harness.emulator.ops.windows import Axis, Windows, make_windows, taps, windows_shape


def pool_windows(call: Call) -> Windows:
    """The windows of a pool; its options hold their size."""
    options = call.node.options
    return make_windows(
        call, (int(options.get("filter_height", 0)), int(options.get("filter_width", 0)))
    )


def pool_shape(call: Call) -> tuple[int, ...]:
    """Shape of a pool's output."""
    return windows_shape(call, pool_windows(call), call.input(0).shape[-1])


OUTPUT_SHAPES["AVERAGE_POOL_2D"] = OUTPUT_SHAPES["MAX_POOL_2D"] = pool_shape


def integer_clamp(call: Call) -> tuple[int, int]:
    """Integer pools neither use nor change the scale; input and output must share it."""
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    if (s_x, z_x) != (s_y, z_y):
        raise NoDefinition("its input and output are quantized differently")
    rule = xnnpack_clamp if call.semantics == "xnnpack" else tflite_clamp
    return rule(fused_activation(call), s_y, z_y, call.output.dtype)


def _sums(x: Array, windows: Windows) -> Array:
    return np.asarray(sum(seen for _, _, seen in taps(x, windows, 0)))


def count_inside(windows: Windows) -> Array:
    """How many elements each window sees, shape (1, output height, output width, 1)."""
    return np.outer(_inside(windows.height), _inside(windows.width))[None, :, :, None]


def _inside(axis: Axis) -> Array:
    """Of each output along an axis: places in the window less those before and behind the input."""
    start = np.arange(axis.output, dtype=np.int64) * axis.stride - axis.before
    first, behind = (-(start // axis.dilation), -((start - axis.size) // axis.dilation))
    return np.clip(behind, 0, axis.window) - np.clip(first, 0, axis.window)


def divide_ties_away(total: Array, count: Array) -> Array:
    """``round(total / count)``, ties away from zero, in integers."""
    return np.asarray(np.sign(total) * ((np.abs(total) + count // 2) // count))


@define(["AVERAGE_POOL_2D"], ["integer"])
def bind_average(call: Call) -> Run:
    """Sum over the elements inside, divided by their number, ties away from zero; no rescale.

    Source: LiteRT kernels/internal/reference/integer_ops/pooling.h and reference/pooling.h,
    AveragePool; the optimized kernels give the same.
    """
    windows, (low, high) = pool_windows(call), integer_clamp(call)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        total = _sums(required(values[0]).astype(np.int64), windows)
        mean = divide_ties_away(total, count_inside(windows))
        return (np.clip(mean, low, high).astype(dtype),)

    return run


@define(["AVERAGE_POOL_2D"], ["float"])
def bind_average_float(call: Call) -> Run:
    """The mean of the elements inside, in float32."""
    windows, activation = pool_windows(call), fused_activation(call)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        mean = _sums(x, windows) / count_inside(windows).astype(x.dtype)
        return (clamp_float(mean.astype(x.dtype), activation),)

    return run


def _maximum(x: Array, windows: Windows, lowest: float) -> Array:
    views = (seen for _, _, seen in taps(x, windows, lowest))
    largest = next(views).copy()
    for seen in views:
        np.maximum(largest, seen, out=largest)
    return largest


@define(["MAX_POOL_2D"], ["integer", "xnnpack"])
def bind_maximum(call: Call) -> Run:
    """The largest element inside, clamped; runtimes differ in the fused clamp only.

    Source: LiteRT kernels/internal/reference/integer_ops/pooling.h, MaxPool; XNNPACK
    src/subgraph/max-pooling-2d.c.
    """
    windows, (low, high) = pool_windows(call), integer_clamp(call)
    dtype = numpy_dtype(call.output)
    lowest = int(np.iinfo(dtype).min)

    def run(values: Values) -> tuple[Array]:
        y = _maximum(required(values[0]), windows, lowest)
        return (np.clip(y.astype(np.int64), low, high).astype(dtype),)

    return run


@define(["MAX_POOL_2D"], ["float"])
def bind_maximum_float(call: Call) -> Run:
    """The largest element inside."""
    windows, activation = pool_windows(call), fused_activation(call)
    return lambda values: (
        clamp_float(_maximum(required(values[0]), windows, -np.inf), activation),
    )
