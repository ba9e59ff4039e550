"""Weights of 4 or 2 bits with a float16 scale for each block of a row's elements."""

import numpy as np

from harness.arithmetic.dynamic import Float32, Int64, QuantizedRows
from harness.arithmetic.float_steps import fused_multiply_add, round_to_bfloat16
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
)
from harness.emulator.graph import Array, Blocks
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.fully_connected import output_shape
from harness.emulator.ops.hybrid import ROWS

_STEP = 16
"""Weights whose sum XNNPACK's packing turns to float32 at once: two groups of 8."""


def _blocks(call: Call) -> Blocks:
    found = call.input(1).blocks
    if found is None:
        raise NoDefinition("its weights have no scale for each block")
    return found


def _constant_weights(call: Call) -> Int64:
    data = call.input(1).data
    if data is None:
        raise NoDefinition("its weights are computed")
    return data.astype(np.int64)


def _block_sums(q: QuantizedRows, weights: Int64, size: int) -> Float32:
    """(blocks, rows, units): ``sum(x_q * w_q)`` over each block, exact below 2^24."""
    rows = q.values.reshape(len(q.values), -1, size).transpose(1, 0, 2)
    return (rows @ weights.reshape(len(weights), -1, size).transpose(1, 2, 0)).astype(np.float32)


@define(["FULLY_CONNECTED"], ["hybrid-blockwise:half-added"])
def bind_litert(call: Call) -> Run:
    """``((sum_k float(acc_k) s_k) - z_x (sum_k float(w_k) s_k)) s_x + b``, from the first block to
    the last, each step rounded: ``acc_k = sum(x_q w_q)`` and ``w_k = sum(w_q)`` over block k.

    The kernel does not look at the fused activation.

    Source: LiteRT kernels/fully_connected.cc, EvalBlockwise4Bit.
    """
    shape, blocks, weights = output_shape(call), _blocks(call), _constant_weights(call)
    scales = blocks.scales.T
    w_sums = weights.reshape(*blocks.scales.shape, -1).sum(axis=2).T.astype(np.float32)
    offset = np.zeros(len(weights), np.float32)
    for w_sum, scale in zip(w_sums, scales, strict=True):
        offset = offset + scale * w_sum

    def run(values: Values) -> tuple[Array]:
        x = required(values[0]).reshape(-1, weights.shape[1])
        q = ROWS["half-added"](True)(x)
        y = np.zeros((len(x), len(weights)), np.float32)
        for acc, scale in zip(_block_sums(q, weights, blocks.size), scales, strict=True):
            y = y + acc * scale
        y = (y - q.zero_points.astype(np.float32) * offset) * q.scales
        bias = values[2] if len(values) > 2 else None
        return ((y if bias is None else y + bias).reshape(shape),)

    return run


@define(["FULLY_CONNECTED"], ["hybrid-blockwise:qd8"])
def bind_xnnpack(call: Call) -> Run:
    """``fma((y_0 + y_1) + (y_2 + y_3), s_x, b)`` of four lanes.

    ``y_j = fma(float(acc_jk), s_k, y_j)`` from the first block k to the last; lane j has the
    elements 2j and 2j + 1 of every 8. ``y_0`` starts as ``z_x * i``, where the packing makes ``i``
    of minus ``float(w) s_k``, added up in float32, w the sum of 16 weights; the others as 0. Scales
    are rounded to bfloat16.

    Source: XNNPACK src/operators/fully-connected-nc.c,
    create_fully_connected_nc_qx8_f32_qb4w_f16_scales; src/reference/packing.cc,
    xnn_pack_qs8_qb4w_gemm_goi_w; src/qd8-f32-qb4w-gemm/gen, the kernels of AVX2.
    """
    shape, blocks, weights = output_shape(call), _blocks(call), _constant_weights(call)
    if not np.all(blocks.scales):
        raise NoDefinition("one of its scales is 0")
    scales = round_to_bfloat16(blocks.scales).T
    start = np.zeros(len(weights), np.float32)
    for first in range(0, weights.shape[1], _STEP):
        w_sum = weights[:, first : first + _STEP].sum(axis=1).astype(np.float32)
        start = start - w_sum * scales[first // blocks.size]
    activation = fused_activation(call)

    def run(values: Values) -> tuple[Array]:
        q = ROWS["qd8"](True)(required(values[0]).reshape(-1, weights.shape[1]))
        lanes = []
        for lane in range(4):
            seen = np.arange(weights.shape[1]) % 8 // 2 == lane
            y = q.zero_points.astype(np.float32) * (start if lane == 0 else np.zeros_like(start))
            for acc, scale in zip(_block_sums(q, weights * seen, blocks.size), scales, strict=True):
                y = fused_multiply_add(acc, np.broadcast_to(scale, acc.shape), y)
            lanes.append(y)
        y = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
        bias = values[2] if len(values) > 2 else None
        addend = np.float32(0) if bias is None else bias
        y = fused_multiply_add(*np.broadcast_arrays(y, q.scales, addend))
        return (clamp_float(y.reshape(shape), activation),)

    return run


@define(["EMBEDDING_LOOKUP"], ["scaled-blocks"])
def bind_rows(call: Call) -> Run:
    """``s_k * float(row)``, by index; a product of a float16 and 4 bits, which float32 holds.

    Source: LiteRT kernels/embedding_lookup.cc, EvalBlockwise.
    """
    blocks, table = _blocks(call), call.input(1)
    if blocks.size % (4 if table.dtype == "int2" else 2):
        raise NoDefinition(f"its blocks of {blocks.size} do not begin with a byte")

    def run(values: Values) -> tuple[Array]:
        indices, rows = required(values[0]).reshape(-1), required(values[1])
        if np.any(indices < 0) or np.any(indices >= len(rows)):
            raise CannotRun(f"an index outside 0..{len(rows) - 1}")
        factors = np.repeat(blocks.scales[indices], blocks.size, axis=1)
        return (rows[indices].astype(np.float32) * factors,)

    return run
