"""BATCH_MATMUL: the sums of products, exact in float64 as in `ops.conv`; its hybrid form."""

import numpy as np

from harness.arithmetic.dynamic import QuantizedRows
from harness.arithmetic.fixed_point import wrap_int32
from harness.arithmetic.float_steps import fused_multiply_add
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
from harness.emulator.ops.accumulate import Products, define_accumulating
from harness.emulator.ops.hybrid import (
    EXPRESSIONS,
    ROWS,
    asks_for_zero_points,
    symmetric_scales,
)


def is_turned(call: Call, index: int) -> bool:
    """Whether a factor is multiplied transposed."""
    return bool(call.node.options.get(("adj_x", "adj_y")[index], False))


def _matrices(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of both factors as they are multiplied."""
    shapes = []
    for index in (0, 1):
        shape = call.input(index).shape
        if len(shape) < 2:
            raise CannotRun(f"input {index} has shape {list(shape)}, allowed: 2 or more dimensions")
        *batches, rows, columns = shape
        shapes.append((*batches, columns, rows) if is_turned(call, index) else shape)
    return shapes[0], shapes[1]


def output_shape(call: Call) -> tuple[int, ...]:
    """Broadcast leading dimensions, then rows of the first and columns of the second factor."""
    first, second = _matrices(call)
    if first[-1] != second[-2]:
        raise CannotRun(f"factors of shapes {list(first)} and {list(second)}")
    return (*np.broadcast_shapes(first[:-2], second[:-2]), first[-2], second[-1])


def bind_batch_matmul(call: Call) -> Products:
    """Products of BATCH_MATMUL: weights (…, depth, columns), or turned with ``adj_y``."""
    output_shape(call)
    turn_x, turn_y = is_turned(call, 0), is_turned(call, 1)

    def products(x: Array, w: Array) -> Array:
        left = np.swapaxes(x, -1, -2) if turn_x else x
        return np.asarray(np.matmul(left, np.swapaxes(w, -1, -2) if turn_y else w))

    return products


@define(["BATCH_MATMUL"], ["sums"])
def bind_sums(call: Call) -> Run:
    """The sums of products of stored values themselves, zero points and all, in int32.

    Source: LiteRT kernels/batch_matmul.cc, EvalInt8Int32.
    """
    products = bind_batch_matmul(call)

    def run(values: Values) -> tuple[Array]:
        x, w = (required(values[i]).astype(np.float64) for i in (0, 1))
        return (wrap_int32(products(x, w).astype(np.int64)).astype(np.int32),)

    return run


def columns_axis(call: Call) -> int:
    """Axis of the output's columns in the second factor."""
    return len(call.input(1).shape) - (2 if is_turned(call, 1) else 1)


@define(["BATCH_MATMUL"], [f"hybrid:{rows}:{scaling}" for rows in ROWS for scaling in EXPRESSIONS])
def bind_delegated(call: Call) -> Run:
    """Rows of the first factor are quantized, whatever matrix they belong to.

    Source: XNNPACK src/subgraph/batch-matrix-multiply.c; LiteRT
    tflite/delegates/xnnpack/xnnpack_delegate.cc, VisitBatchMatMulNode.
    """
    _, rows_name, scaling = call.semantics.split(":")
    quantize, expression = ROWS[rows_name](asks_for_zero_points(call)), EXPRESSIONS[scaling]
    shape, scales = output_shape(call), symmetric_scales(call.input(1), columns_axis(call))
    turn_x, turn_y = is_turned(call, 0), is_turned(call, 1)

    def run(values: Values) -> tuple[Array]:
        x, w = required(values[0]), required(values[1]).astype(np.float64)
        left = np.swapaxes(x, -1, -2) if turn_x else x
        q = quantize(left.reshape(-1, left.shape[-1]))
        centred = (q.values - q.zero_points).astype(np.float64).reshape(left.shape)
        sums = np.matmul(centred, np.swapaxes(w, -1, -2) if turn_y else w)
        acc = wrap_int32(sums.astype(np.int64))
        row_scales = np.broadcast_to(q.scales.reshape(*left.shape[:-1], 1), (*shape[:-1], 1))
        return (expression(acc, row_scales, scales, np.asarray(np.float32(0))),)

    return run


@define(["BATCH_MATMUL"], [f"hybrid-summed-places:{rows}" for rows in ("away", "half-added")])
def bind_built_in(call: Call) -> Run:
    """LiteRT's own kernel: ``(s_x s_w) * int(float(acc) - float(k) * float(z))`` with ``acc`` and
    ``k`` the sums of products and of weights; fused on aarch64.

    The kernel finds the scale and zero point of a row by the *sum* of its batch indices, not by the
    place of its matrix, and sums of weights likewise: with more than one batch dimension it takes
    those of other rows, and so does this.

    Source: LiteRT kernels/internal/reference/batch_matmul.h, BatchMatMul with scaling factors;
    kernels/batch_matmul.cc, EvalHybrid.
    """
    rows_name = call.semantics.partition(":")[2]
    quantize = ROWS[rows_name](asks_for_zero_points(call))
    shape, scales = output_shape(call), symmetric_scales(call.input(1), columns_axis(call))
    turn_x, turn_y = is_turned(call, 0), is_turned(call, 1)
    fused = rows_name == "away"

    def run(values: Values) -> tuple[Array]:
        x, w = required(values[0]), required(values[1]).astype(np.float64)
        left = np.swapaxes(x, -1, -2) if turn_x else x
        right = np.swapaxes(w, -1, -2) if turn_y else w
        q = quantize(left.reshape(-1, left.shape[-1]))
        sums = np.matmul(q.values.astype(np.float64).reshape(left.shape), right)
        acc = wrap_int32(sums.astype(np.int64)).astype(np.float32)
        offsets, row_scales = _of_summed_places(q, left.shape, shape)
        weight_sums = _weight_sums(right, shape)
        if fused:
            total = fused_multiply_add(-weight_sums, np.broadcast_to(offsets, shape), acc)
        else:
            total = acc - weight_sums * offsets
        return (row_scales * scales * np.trunc(total),)

    return run


def _summed_places(shape: tuple[int, ...], rank: int) -> Array:
    """Sum of the batch indices of each matrix, those of broadcast dimensions left out."""
    batches = (1,) * (rank - len(shape)) + shape[:-2]
    return np.indices(batches).sum(axis=0) if batches else np.zeros((), np.int64)


def _of_summed_places(
    q: QuantizedRows, left: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Zero points (float32) and scales of the output's rows, (…, rows, 1)."""
    places = _summed_places(left, len(shape))[..., np.newaxis] * left[-2] + np.arange(left[-2])
    return q.zero_points[places].astype(np.float32), q.scales[places]


def _weight_sums(right: Array, shape: tuple[int, ...]) -> Array:
    """Sums of weights of the output's columns, broadcast to the output's shape; float32."""
    sums = right.sum(axis=-2).reshape(-1)
    places = _summed_places(right.shape, len(shape))[..., np.newaxis] * right.shape[-1]
    found = sums[places + np.arange(right.shape[-1])][..., np.newaxis, :]
    return np.broadcast_to(found, shape).astype(np.float32)


OUTPUT_SHAPES["BATCH_MATMUL"] = output_shape
define_accumulating("BATCH_MATMUL", bind_batch_matmul, axis=-1)
