"""FULLY_CONNECTED of float32 by int4 in LiteRT's kernels for four bits."""

import numpy as np

from harness.arithmetic.float_steps import fused_multiply_add
from harness.emulator.definitions import Call, NoDefinition, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.fully_connected import bind_fully_connected
from harness.emulator.ops.hybrid import ROWS, symmetric_scales

_OFFSET = 7
"""Added to the weights, so that they are unsigned."""


@define(["FULLY_CONNECTED"], ["hybrid-4-bit:product", "hybrid-4-bit:fused"])
def bind_four_bits(call: Call) -> Run:
    """``(k s_x) s_w + b``, then ``+ (acc s_x) s_w``: ``acc = sum(x_q (w_q + 7))``, ``k = -7
    sum(x_q)``, in float32.

    Rows are quantized without zero points whatever the op asks for, ties away from zero. Fused (on
    aarch64): both sums round once with the product before them; the second does not where a row is
    not the only one and its units are in a whole block of 4.

    Source: LiteRT kernels/fully_connected.cc, EvalHybridDense4Bit; internal/optimized/4bit,
    {Sse,Neon}BatchQuantizeFloats4Bit, …AssignBiasAndComputeOffsets, …Unpack.
    """
    fused = call.semantics.endswith("fused")
    weights = call.input(1)
    if weights.data is None or np.any(weights.data < -_OFFSET):
        raise NoDefinition(f"its int4 weights are computed, or one is below {-_OFFSET}")
    products, scales = bind_fully_connected(call), symmetric_scales(weights, 0)
    units, depth = weights.shape
    unsigned = weights.data.astype(np.float64) + _OFFSET
    activation = fused_activation(call)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        q = ROWS["away"](False)(x.reshape(-1, depth))
        acc = products(q.values.astype(np.float64).reshape(x.shape), unsigned)
        row_sums = q.values.sum(axis=1, keepdims=True, dtype=np.float64)
        first = (-_OFFSET * row_sums).astype(np.float32) * q.scales
        second = acc.reshape(-1, units).astype(np.float32) * q.scales
        bias = values[2] if len(values) > 2 else None
        start = first * scales
        if bias is not None:
            start = _fused(first, scales, bias) if fused else start + bias
        y = start + second * scales
        if fused:
            in_blocks = (np.arange(units) < units // 4 * 4) & (len(q.scales) > 1)
            y = np.where(in_blocks, y, _fused(second, scales, start))
        return (clamp_float(y.astype(np.float32).reshape(acc.shape), activation),)

    return run


def _fused(x: Array, scales: Array, addend: Array) -> Array:
    left, right, third = np.broadcast_arrays(x, scales, addend)
    return fused_multiply_add(left, right, third)
