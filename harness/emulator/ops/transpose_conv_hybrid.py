"""TRANSPOSE_CONV of float32 by int8, as LiteRT's own kernel adds it up."""

import numpy as np

from harness.emulator.definitions import Call, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops import transpose_conv
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.hybrid import ROWS, symmetric_scales


@define(["TRANSPOSE_CONV"], ["hybrid-scattered:half-added"])
def bind_scattered(call: Call) -> Run:
    """From 0, in the order of the input's pixels and channels, each product by itself in float32:
    ``y += (float((x_q - z_x) w_q) s_w) s_x``; then the bias.

    An image is a row. Seen from the output, the order is that of the window backwards.

    Source: LiteRT kernels/transpose_conv.cc, EvalHybrid; internal/reference/transpose_conv.h,
    HybridTransposeConv.
    """
    place, weights = transpose_conv.bind_scatter(call), call.input(1)
    scales, (_, height, width, depth) = symmetric_scales(weights, 0), weights.shape
    steps = [
        (row, column, channel)
        for row in reversed(range(height))
        for column in reversed(range(width))
        for channel in range(depth)
    ]
    activation = fused_activation(call)

    def run(values: Values) -> tuple[Array]:
        x, w = required(values[2]), required(values[1]).astype(np.float32)
        rows = ROWS["half-added"](True)(x.reshape(len(x), -1))
        centred = (rows.values - rows.zero_points).astype(np.float32).reshape(x.shape)
        s_x = rows.scales.reshape(-1, 1, 1, 1)
        y = place.zeros(np.float32)
        for row, column, channel in steps:
            products = centred[..., channel : channel + 1] * w[:, row, column, channel]
            place.window(y, row, column)[...] += products * scales * s_x
        y = place.crop(y)
        bias = values[3] if len(values) > 3 else None
        return (clamp_float(y if bias is None else y + bias, activation),)

    return run
