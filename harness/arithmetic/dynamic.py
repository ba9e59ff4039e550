"""Activations that are quantized while the graph runs: one scale and zero point for each row.

A row is what a runtime quantizes together: a token, or a whole image of a convolution. Each
definition takes rows (rows, elements) of float32 and gives their integers and parameters; what the
sums of products become is one float32 expression, defined here too. Domain of all: finite values
whose range does not overflow; where it underflows, the quotients of the runtimes do as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.fixed_point import round_half_away
from harness.arithmetic.float_steps import fused_multiply_add

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]]

_LOW, _HIGH = np.float32(-128), np.float32(127)

RoundRows = Callable[[Float32], Float32]
"""From the quotients of rows to integral float32."""


@dataclass(frozen=True, eq=False)
class QuantizedRows:
    """Rows quantized at run time: ``real = scale * (value - zero_point)``.

    Attributes:
        values: (rows, elements), integral, within int8.
        scales: (rows, 1).
        zero_points: (rows, 1), integral, within int8.
    """

    values: Float32
    scales: Float32
    zero_points: Float32


def quantize_qd8(rows: Float32) -> QuantizedRows:
    """As XNNPACK quantizes the input of its qd8 operators; int8, asymmetric.

    With ``low = min(0, row)``, ``high = max(0, row)`` and ``q = 255 / (high - low)`` (1 for a row
    of zeros), all in float32: ``z = rint(-128 - low q)`` where
    ``(-128 + low q) + (127 + high q) > 0``, else ``z = rint(127 - high q)``; values
    ``clip(rint(x q) + z, -128, 127)``; ties to even; the scale is ``1 / q``. Its quint8 form
    (qdu8) adds 128 to values and zero points.

    Source: XNNPACK src/xnnpack/quantization.h, xnn_qd8_asymmetric_quantization_params;
    src/operator-run.c, xnn_compute_f32_qx8_convert; src/f32-qs8-vcvt.
    """
    return _quantize_qx8(rows, np.rint)


def quantize_qp8(rows: Float32) -> QuantizedRows:
    """As `quantize_qd8`, but ties of the values go away from zero; those of z still to even.

    Source: KleidiAI kai_lhs_quant_pack_qai8dxp_f32, which XNNPACK takes for fully connected layers
    on aarch64 with dot products; measured, ai-edge-litert 2.3.0 on Cortex-A76.
    """
    return _quantize_qx8(rows, round_half_away)


def _quantize_qx8(rows: Float32, round_values: RoundRows) -> QuantizedRows:
    low = np.minimum(np.float32(0), rows.min(axis=1, keepdims=True, initial=0))
    high = np.maximum(np.float32(0), rows.max(axis=1, keepdims=True, initial=0))
    span = high - low
    inverse = (np.float32(255) / np.where(span == 0, 255, span)).astype(np.float32)
    below, above = low * inverse, high * inverse
    from_low = (_LOW + below) + (_HIGH + above) > 0
    zero_points = np.rint(np.clip(np.where(from_low, _LOW - below, _HIGH - above), _LOW, _HIGH))
    values = round_values(rows * inverse) + zero_points
    scales = np.asarray(np.float32(1) / inverse, np.float32)
    return QuantizedRows(np.clip(values, _LOW, _HIGH), scales, zero_points)


def quantize_symmetric(rows: Float32, round_rows: RoundRows) -> QuantizedRows:
    """``clip(round(x * (127 / m)), -127, 127)`` with ``m = max |row|``; the scale is ``m / 127``.

    All in float32; a row of zeros has scale 1.

    Source: LiteRT kernels/internal/optimized/neon_tensor_utils.cc, NeonSymmetricQuantizeFloats.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    safe = np.where(largest == 0, np.float32(127), largest).astype(np.float32)
    values = np.clip(round_rows(rows * (np.float32(127) / safe)), -127, 127)
    return QuantizedRows(values, safe / np.float32(127), np.zeros_like(safe))


def quantize_asymmetric(rows: Float32, round_rows: RoundRows) -> QuantizedRows:
    """``clip(round(x * float(1 / s)) + z, -128, 127)``.

    With ``low = min(0, row)``, ``high = max(0, row)``: ``s = double(high - low) / 255``; ``z`` is
    ``-128 - low / s`` or ``127 - high / s``, whichever has the smaller sum of absolute terms, in
    double, rounded with ties away from zero. The scale is ``float(s)``; a row of zeros has 1.

    Source: LiteRT kernels/internal/optimized/neon_tensor_utils.cc, NeonAsymmetricQuantizeFloats.
    """
    low = np.minimum(np.float32(0), rows.min(axis=1, keepdims=True, initial=0))
    high = np.maximum(np.float32(0), rows.max(axis=1, keepdims=True, initial=0))
    empty = low == high
    step = np.where(empty, 1.0, (high - low).astype(np.float64) / 255.0)
    below, above = low / step, high / step
    from_low = 128 + np.abs(below) < 127 + np.abs(above)
    zero_points = round_half_away(np.where(from_low, -128 - below, 127 - above))
    zero_points = np.where(empty, 0, np.clip(zero_points, -128, 127)).astype(np.float32)
    scales = step.astype(np.float32)
    values = round_rows(rows * (np.float32(1) / scales)) + zero_points
    return QuantizedRows(np.clip(values, _LOW, _HIGH), scales, zero_points)


def round_rows_away(x: Float32) -> Float32:
    """Ties away from zero. Source: FCVTAS, std::round."""
    return round_half_away(x)


def round_rows_half_added(x: Float32) -> Float32:
    """Whole blocks of 8: ``trunc(x + 0.5)``, below zero ``trunc(x - 0.5)``, the sum in float32; the
    rest: ties away from zero.

    So the float32 next below 0.5 gives 1.

    Source: LiteRT kernels/internal/optimized/neon_tensor_utils.cc, RoundToNearest before Armv8,
    which x86 takes through SSE; TfLiteRound.
    """
    body = x.shape[-1] // 8 * 8
    y = np.trunc(x + np.copysign(np.float32(0.5), x))
    y[..., body:] = round_half_away(x[..., body:])
    return np.asarray(y)


def scale_qd8(acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32) -> Float32:
    """``fma(float(acc) * s_x, s_w, bias)``: what XNNPACK's qd8 kernels make of an accumulator.

    Args:
        acc: ``sum((x_q - z_x) * w_q)``, int32 values, broadcastable with the others.
        row_scales: of the rows of activations.
        weight_scales: of the output channels.
        bias: 0 where there is none.

    Source: XNNPACK src/qd8-f32-qc8w-gemm, src/qd8-f32-qc8w-igemm, all kernels of aarch64 and of x86
    with FMA.
    """
    scaled = acc.astype(np.float32) * row_scales
    shape = np.broadcast_shapes(scaled.shape, weight_scales.shape, bias.shape)
    return fused_multiply_add(
        np.broadcast_to(scaled, shape), np.broadcast_to(weight_scales, shape), bias
    )


def scale_fused(
    acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32
) -> Float32:
    """``fma(float(acc), s_x * s_w, bias)``.

    Source: LiteRT kernels/internal/optimized/neon_tensor_utils.cc,
    NeonMatrixBatchVectorMultiplyAccumulate, where the compiler fuses on aarch64.
    """
    scaled, scales = np.broadcast_arrays(acc.astype(np.float32), row_scales * weight_scales)
    return fused_multiply_add(scaled, scales, bias)


def scale_product(
    acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32
) -> Float32:
    """``float(acc) * (s_x * s_w) + bias``, each step rounded.

    Source: LiteRT kernels/internal/optimized/sse_tensor_utils.cc; neon_tensor_utils.cc,
    DotprodMatrixBatchFourVectorMultiplyAccumulate; optimized_ops.h, HybridConvPerChannel;
    reference/integer_ops/depthwise_conv.h, DepthwiseConvHybridPerChannel. KleidiAI, and XNNPACK's
    4x16c4 neondot kernels in assembly (src/qd8-f32-qc8w-igemm).
    """
    return np.asarray(acc.astype(np.float32) * (row_scales * weight_scales) + bias)


def scale_weights_first(
    acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32
) -> Float32:
    """``(float(acc) * s_w) * s_x + bias``, each step rounded.

    Source: LiteRT kernels/internal/reference/conv.h, HybridConvPerChannel.
    """
    return np.asarray(acc.astype(np.float32) * weight_scales * row_scales + bias)


def scale_rows_first(
    acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32
) -> Float32:
    """``(float(acc) * s_x) * s_w + bias``, each step rounded. Domain: ``|acc| < 2^24``.

    Source: XNNPACK src/qd8-f32-qc2w-gemm, the scalar kernels; zero points come off in float32.
    """
    return np.asarray(acc.astype(np.float32) * row_scales * weight_scales + bias)


def scale_blocks_of_4(
    acc: Integers, row_scales: Float32, weight_scales: Float32, bias: Float32
) -> Float32:
    """As `scale_weights_first` in whole blocks of 4 channels; the rest with ``s_x`` first.

    Source: LiteRT kernels/internal/optimized/integer_ops/depthwise_conv_hybrid.h,
    DoDepthwiseConvHybridGeneral.
    """
    real = acc.astype(np.float32)
    body = np.arange(acc.shape[-1]) < acc.shape[-1] // 4 * 4
    blocks, rest = real * weight_scales * row_scales, real * row_scales * weight_scales
    return np.asarray(np.where(body, blocks, rest) + bias)
