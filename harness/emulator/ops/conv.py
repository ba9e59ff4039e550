"""CONV_2D and DEPTHWISE_CONV_2D: the sums of products.

Integers are multiplied and added in float64, where every product and partial sum is an integer
below 2^53 and therefore exact in any order: |x - z_x| <= 2^16, |w - z_w| <= 2^9 and a window of
up to 2^26 elements. That lets BLAS do the work of the definition.
"""

import numpy as np

from harness.emulator.definitions import OUTPUT_SHAPES, Call, CannotRun
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import Products, define_accumulating
from harness.emulator.ops.windows import make_windows, patches, taps, windows_shape


def bind_conv(call: Call) -> Products:
    """Products of CONV_2D: weights (outputs, height, width, inputs / groups)."""
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    if len(weights) != 4 or not weights[3] or channels % weights[3]:
        raise CannotRun(f"weights of shape {list(weights)} on {channels} channels")
    groups, outputs = channels // weights[3], weights[0]
    if outputs % groups:
        raise CannotRun(f"{outputs} output channels in {groups} groups")
    windows = make_windows(call, (weights[1], weights[2]))

    def one_group(x: Array, w: Array) -> Array:
        matrix = w.reshape(w.shape[0], -1).T
        sums = [
            (rows.reshape(-1, len(matrix)) @ matrix).reshape(*rows.shape[:3], -1)
            for _, _, rows in patches(x, windows)
        ]
        return np.concatenate(sums, axis=1)

    def products(x: Array, w: Array) -> Array:
        if groups == 1:
            return one_group(x, w)
        parts = zip(np.split(x, groups, axis=3), np.split(w, groups), strict=True)
        return np.concatenate([one_group(*part) for part in parts], axis=3)

    return products


def bind_depthwise(call: Call) -> Products:
    """Products of DEPTHWISE_CONV_2D: weights (1, height, width, inputs * multiplier)."""
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    if len(weights) != 4 or weights[0] != 1 or not channels or weights[3] % channels:
        raise CannotRun(f"weights of shape {list(weights)} on {channels} channels")
    multiplier = weights[3] // channels
    windows = make_windows(call, (weights[1], weights[2]))

    def products(x: Array, w: Array) -> Array:
        repeated = np.repeat(x, multiplier, axis=3) if multiplier > 1 else x
        shape = (len(x), windows.height.output, windows.width.output, weights[3])
        sums = np.zeros(shape, x.dtype)
        for row, column, seen in taps(repeated, windows, 0):
            sums += seen * w[0, row, column]
        return sums

    return products


def weighted_shape(call: Call, axis: int) -> tuple[int, ...]:
    """Shape of a convolution's output; `axis` of the output channels in the weights."""
    weights = call.input(1).shape
    if len(weights) != 4:
        raise CannotRun(f"weights of shape {list(weights)}, allowed: 4 dimensions")
    windows = make_windows(call, (weights[1], weights[2]))
    return windows_shape(call, windows, weights[axis])


OUTPUT_SHAPES["CONV_2D"] = lambda call: weighted_shape(call, 0)
OUTPUT_SHAPES["DEPTHWISE_CONV_2D"] = lambda call: weighted_shape(call, 3)
define_accumulating("CONV_2D", bind_conv, axis=0)
define_accumulating("DEPTHWISE_CONV_2D", bind_depthwise, axis=3)
