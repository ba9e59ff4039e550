"""Hybrid ops: float32 activations, integer weights.

Activations are quantized while the op runs, row by row; the sums of products are integers, exact
in any order; one float32 expression makes each output of its sum. So every output bit is defined,
though the op is one on floats. A semantics names how rows are quantized and what that expression
is: ``hybrid:rows:expression``.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from harness.arithmetic import dynamic
from harness.arithmetic.dynamic import Float32, QuantizedRows
from harness.arithmetic.fixed_point import INT32_MAX, wrap_int32
from harness.emulator.definitions import (
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    quantization,
    required,
)
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops import transpose_conv
from harness.emulator.ops.accumulate import Products, pick, rearrange
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.conv import bind_conv, bind_depthwise
from harness.emulator.ops.fully_connected import bind_fully_connected

QuantizeRows = Callable[[Float32], QuantizedRows]

ROWS: dict[str, Callable[[bool], QuantizeRows]] = {
    "qd8": lambda _asymmetric: within_domain(dynamic.quantize_qd8),
    "qp8": lambda _asymmetric: within_domain(dynamic.quantize_qp8),
    "away": lambda asymmetric: _litert(asymmetric, dynamic.round_rows_away),
    "half-added": lambda asymmetric: _litert(asymmetric, dynamic.round_rows_half_added),
}
"""How rows are quantized, by name: from whether the op asks for zero points."""

EXPRESSIONS = {
    "qd8": dynamic.scale_qd8,
    "fused": dynamic.scale_fused,
    "product": dynamic.scale_product,
    "weights-first": dynamic.scale_weights_first,
    "rows-first": dynamic.scale_rows_first,
    "blocks-of-4": dynamic.scale_blocks_of_4,
}
"""What becomes of an accumulator, by name."""

OUT_OF_DOMAIN = (
    "a row of its input holds NaN or infinities, or is too wide or too narrow "
    "for a scale in float32"
)
"""Why rows have no definition."""

SEMANTICS = tuple(f"hybrid:{rows}:{scaling}" for rows, scaling in product(ROWS, EXPRESSIONS))


def _litert(asymmetric: bool, round_rows: dynamic.RoundRows) -> QuantizeRows:
    quantize = dynamic.quantize_asymmetric if asymmetric else dynamic.quantize_symmetric
    return within_domain(lambda rows: quantize(rows, round_rows))


def within_domain(quantize: QuantizeRows) -> QuantizeRows:
    """The same for rows that have a scale: of finite width, and a width of 0 or one whose inverse
    is finite. It raises NoDefinition for others, where each kernel gives something else."""

    def run(rows: Float32) -> QuantizedRows:
        with np.errstate(all="ignore"):
            width = rows.max(axis=1, initial=0) - rows.min(axis=1, initial=0)
            inverse = np.float32(255) / width
        if not (np.isfinite(width) & ((width == 0) | np.isfinite(inverse))).all():
            raise NoDefinition(OUT_OF_DOMAIN)
        return quantize(rows)

    return run


def define_hybrid(
    op: str,
    bind_products: Callable[[Call], Products],
    axis: int,
    depth: Callable[[Call], int],
    asymmetric: Callable[[Call], bool],
    *,
    places: tuple[int, int, int] = (0, 1, 2),
) -> None:
    """Enter an op under every hybrid semantics.

    Args:
        op: the operator.
        bind_products: prepares its sums of products for a call.
        axis: of the output channels in the weights.
        depth: elements of a row.
        asymmetric: whether LiteRT's own kernels give rows zero points.
        places: of the image, the weights and the bias among the inputs.
    """

    @define([op], SEMANTICS)
    def bind(node_call: Call) -> Run:
        products, call = bind_products(node_call), rearrange(node_call, places)
        _, rows_name, scaling = call.semantics.split(":")
        quantize, expression = ROWS[rows_name](asymmetric(call)), EXPRESSIONS[scaling]
        n = depth(call)
        activation = fused_activation(call)
        if rows_name in {"away", "half-added"} and op != "DEPTHWISE_CONV_2D":
            _check_weights(call)
        weight_scales = symmetric_scales(call.input(1), axis)
        channels = call.input(1).shape[axis]
        bias_tensor = call.optional(2)
        if bias_tensor is not None and bias_tensor.shape != (channels,):
            raise ValueError(f"bias of shape {list(bias_tensor.shape)}, allowed: [{channels}]")
        constant = call.input(1).data
        largest = math.inf if constant is None else _largest_sum(constant, axis)
        dtype = np.float32 if largest <= 1 << 24 else np.float64
        prepared = None if constant is None else constant.astype(dtype)

        def run(values: Values) -> tuple[Array]:
            image, weights, bias = pick(values, places)
            x = required(image)
            q = quantize(x.reshape(-1, n))
            centred = (q.values - q.zero_points).astype(dtype).reshape(x.shape)
            w = required(weights).astype(dtype) if prepared is None else prepared
            acc = products(centred, w)
            if largest > INT32_MAX:
                acc = wrap_int32(acc.astype(np.int64))
            y = expression(
                acc.reshape(len(q.scales), -1, channels),
                q.scales[:, :, np.newaxis],
                weight_scales,
                np.asarray(np.float32(0) if bias is None else bias),
            )
            return (clamp_float(y.reshape(acc.shape), activation),)

        return run


def _largest_sum(weights: Array, axis: int) -> float:
    """What no sum of products of an output channel exceeds, nor any part of it: an activation is at
    most 255 from its zero point. Up to 2^24, sums are exact in float32 too, in any order."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    return 255.0 * float(np.abs(weights.astype(np.float64)).sum(axis=others).max(initial=0))


def _check_weights(call: Call) -> None:
    """No weight is -128, whose sign LiteRT's x86 kernels cannot turn and whose squares overflow the
    16-bit pairs of the Arm ones.

    Source: LiteRT kernels/internal/optimized/sse_tensor_utils.cc, DotProdInt8x4x4;
    neon_tensor_utils.cc, NeonMatrixBatchVectorMultiplyAccumulateImpl.
    """
    weights = call.input(1)
    if weights.data is None or (weights.dtype == "int8" and np.any(weights.data == -128)):
        raise NoDefinition("its int8 weights are computed, or one is -128")


def symmetric_scales(weights: Tensor, axis: int) -> Float32:
    """The weights' scales, one or one an output channel; zero points are none of theirs."""
    found = quantization(weights)
    if np.any(found.zero_points):
        raise NoDefinition("its weights have zero points")
    if len(found.scales) > 1 and found.axis % len(weights.shape) != axis % len(weights.shape):
        raise NoDefinition(f"its weights are quantized along axis {found.axis}, not {axis}")
    return found.scales


def image_row(call: Call) -> int:
    """Elements of a row of a convolution: an image; XNNPACK makes a 1 x 1 convolution, but of one
    channel to one, a fully connected layer, whose rows are pixels.

    Source: XNNPACK src/subgraph/convolution-2d.c, xnn_define_convolution_2d.
    """
    (_, *size, channels), weights = call.input(0).shape, call.input(1).shape
    if call.node.op == "TRANSPOSE_CONV":
        return math.prod(size) * int(channels)
    strides = [call.node.options.get(f"stride_{name}", 1) for name in "hw"]
    dense = weights[1:] == (1, 1, channels) and strides == [1, 1] and weights[0] + channels > 2
    if dense and call.semantics.split(":")[1] in {"qd8", "qp8"}:
        return int(channels)
    return math.prod(size) * int(channels)


def asks_for_zero_points(call: Call) -> bool:
    """The op's option ``asymmetric_quantize_inputs``; XNNPACK does not look at it."""
    return bool(call.node.options.get("asymmetric_quantize_inputs", False))


def takes_per_channel(call: Call) -> bool:
    """Scales that differ, or groups: LiteRT's kernel per channel, which is asymmetric.

    Source: LiteRT kernels/conv.cc, Prepare and EvalImpl.
    """
    groups = call.input(0).shape[-1] != call.input(1).shape[-1]
    return groups or len(set(quantization(call.input(1)).scales.tolist())) > 1


define_hybrid(
    "FULLY_CONNECTED",
    bind_fully_connected,
    0,
    lambda call: call.input(1).shape[1],
    asks_for_zero_points,
)
define_hybrid("CONV_2D", bind_conv, 0, image_row, takes_per_channel)
define_hybrid("DEPTHWISE_CONV_2D", bind_depthwise, 3, image_row, lambda _call: True)
define_hybrid(
    "TRANSPOSE_CONV",
    transpose_conv.bind_products,
    0,
    image_row,
    lambda _call: True,
    places=(2, 1, 3),
)
