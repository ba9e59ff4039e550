"""QUANTIZE and DEQUANTIZE; RELU and its kin, and LOGISTIC, in float."""

import numpy as np

from harness.arithmetic.fixed_point import round_half_away, to_int64
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.requantize import quantize_multiplier, round_s1, round_s2
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    quantization,
    refuse_nan,
    required,
    same_shape,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.shape import integer_limits, output_dtype

OUTPUT_SHAPES.update(
    dict.fromkeys(
        ("QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC"), same_shape
    )
)


_INT32 = np.iinfo(np.int32)


def _add_zero_point(rounded: Array, zero_point: int) -> Array:
    """``rounded + zero_point`` in double, where the runtime's int32 gives the same after the clamp.

    Below int32, x86-64 and aarch64 both give the lowest int32; above it, and for NaN, they differ.

    Raises:
        NoDefinition: a value beyond int32 that machines do not agree on, or NaN.
    """
    steps = rounded.astype(np.float64)
    y = steps + zero_point
    inside = (steps <= _INT32.max) & (y <= _INT32.max)
    if zero_point < 0:
        inside &= y >= _INT32.min
    if not inside.all():
        raise NoDefinition(
            "its input holds NaN, or a value of more steps than int32 holds, "
            "which machines convert differently"
        )
    return np.asarray(y)


@define(["QUANTIZE"], ["affine-away"])
def bind_quantize(call: Call) -> Run:
    """``clip(round(x / s) + z)``, quotient in float32, ties away. Domain: `_add_zero_point`.

    Source: LiteRT kernels/internal/reference/quantize.h, AffineQuantize; kernels/quantize.cc,
    AffineQuantizeToInt4.
    """
    scale, zero_point = scale_and_zero_point(call.output)
    dtype, (lowest, highest) = output_dtype(call.output), integer_limits(call.output)

    def run(values: Values) -> tuple[Array]:
        rounded = round_half_away(required(values[0]) / np.float32(scale))
        y = _add_zero_point(rounded, zero_point)
        return (np.clip(y, lowest, highest).astype(dtype),)

    return run


@define(["QUANTIZE"], ["affine-blocks-of-8"])
def bind_quantize_blocks(call: Call) -> Run:
    """Whole blocks of 8: ``rint(x * float(1 / s)) + z`` in float32, ties to even; the rest:
    ``round(x / s) + z`` in double, ties away. Domain: `_add_zero_point`.

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, AffineQuantize with USE_NEON (on x86
    through SSE).
    """
    scale, zero_point = scale_and_zero_point(call.output)
    inverse = np.float32(1.0 / scale)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        body = np.arange(x.size).reshape(x.shape) < x.size // 8 * 8
        blocks = np.rint(x * inverse).astype(np.float64)
        rest = round_half_away(x.astype(np.float64) / scale)
        y = _add_zero_point(np.where(body, blocks, rest), zero_point)
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["QUANTIZE"], ["affine-even"])
def bind_quantize_xnnpack(call: Call) -> Run:
    """``rint(clip(x * (1 / s), low - z, high - z)) + z`` in float32, ties to even. Domain: no
    NaN.

    Source: XNNPACK src/f32-qs8-vcvt, microparams-init.c xnn_init_f32_qs8_cvt_scalar_params.
    """
    scale, zero_point = scale_and_zero_point(call.output)
    inverse = np.float32(1) / np.float32(scale)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)
    low, high = np.float32(limits.min - zero_point), np.float32(limits.max - zero_point)

    def run(values: Values) -> tuple[Array]:
        scaled = required(values[0]) * inverse
        refuse_nan(scaled)
        rounded = np.rint(np.clip(scaled, low, high))
        return ((rounded.astype(np.int64) + zero_point).astype(dtype),)

    return run


_BEYOND_INT64 = np.float32(2.0**63)


@define(["QUANTIZE"], ["affine-even-in-int64"])
def bind_quantize_portable(call: Call) -> Run:
    """``clip(int64(rint(x * (1 / s))) + z)``, the product in float32, ties to even. Domain: no NaN,
    and less than 2^63 steps, beyond which processors differ; all below is the lowest integer.

    Source: executorch kernels/quantized/cpu/op_quantize.cpp quantize_val.
    """
    scale, zero_point = scale_and_zero_point(call.output)
    inverse = np.float32(1) / np.float32(scale)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        steps = np.rint(required(values[0]) * inverse)
        if not (steps < _BEYOND_INT64).all():  # NaN is not less either
            raise NoDefinition("its input holds NaN, or a value of 2^63 steps or more")
        low, high = limits.min - zero_point, limits.max - zero_point
        return ((np.clip(steps, low, high).astype(np.int64) + zero_point).astype(dtype),)

    return run


@define(["QUANTIZE"], ["rescale-8-bits"], elementwise=1)
def bind_rescale(call: Call) -> Run:
    """``clip((m (x - z_x) + 128 >> 8) + z_y)``, ``m = rint(256 s_x / s_y)`` in float32.

    Domain: s_x / s_y in [2^-8, 2^7].

    Source: XNNPACK src/qs8-vcvt/scalar.c.in, microparams-init.c xnn_init_qs8_cvt_scalar_params.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier = int(np.rint(np.float32(256) * (np.float32(s_x) / np.float32(s_y))))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        y = ((multiplier * (to_int64(required(values[0])) - z_x) + 128) >> 8) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["QUANTIZE"], ["requantize-S2-blocks-of-16"], elementwise=16)
@define(["QUANTIZE"], ["requantize-S1"], elementwise=1)
def bind_requantize(call: Call) -> Run:
    """``clip(S1(x - z_x, s_x / s_y) + z_y)``, multiplier in double; or S2 in whole blocks of 16.

    Source: LiteRT kernels/internal/reference/requantize.h, Requantize;
    internal/optimized/optimized_ops.h, Requantize with USE_NEON.
    """
    blocks = call.semantics.endswith("blocks-of-16")
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(s_x / s_y))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        y = round_s1(x, multiplier, shift)
        if blocks:
            body = np.arange(x.size).reshape(x.shape) < x.size // 16 * 16
            y = np.where(body, round_s2(x, multiplier, shift), y)
        return (np.clip(y + z_y, limits.min, limits.max).astype(dtype),)

    return run


@define(["DEQUANTIZE"], ["affine"])
def bind_dequantize(call: Call) -> Run:
    """``float32(s * (x - z))``: one rounding, per tensor or per channel.

    Source: LiteRT kernels/internal/reference/dequantize.h, Dequantize and PerChannelDequantize.
    """
    if call.input(0).dtype == "float16":
        return lambda values: (required(values[0]).astype(np.float32),)
    found = quantization(call.input(0))
    shape = [1] * len(call.input(0).shape)
    if len(found.scales) > 1:
        shape[found.axis] = -1
    elif not shape:
        shape = []
    scales = found.scales.astype(np.float64).reshape(shape)
    zero_points = found.zero_points.reshape(shape)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - zero_points
        return ((x * scales).astype(np.float32),)

    return run


@define(["DEQUANTIZE"], ["affine-blocks-of-8", "affine-fused-blocks-of-8"])
def bind_dequantize_blocks(call: Call) -> Run:
    """Whole blocks of 8: ``x * s + float32(-z * s)`` in float32, each step rounded, or the two as
    one ("fused"); the rest as "affine".

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, Dequantize and ScaleWithNewZeroPoint
    with USE_NEON (on x86 through SSE).
    """
    by_element = bind_dequantize(call)
    scale, zero_point = scale_and_zero_point(call.input(0))
    factor, offset = (np.asarray([v], np.float32) for v in (scale, -zero_point * scale))
    fused = call.semantics == "affine-fused-blocks-of-8"

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        body = np.arange(x.size).reshape(x.shape) < x.size // 8 * 8
        real = x.astype(np.float32)
        y = fused_multiply_add(real, factor, offset) if fused else real * factor + offset
        return (np.where(body, y, by_element(values)[0]).reshape(x.shape),)

    return run


@define(["RELU", "RELU6", "RELU_N1_TO_1"], ["float"])
def bind_relu_float(call: Call) -> Run:
    """The clamp in float32: exact, but named float because what it clamps is."""
    low, high = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[
        call.node.op
    ]
    return lambda values: (np.clip(required(values[0]), low, high).astype(np.float32),)


@define(["LOGISTIC"], ["float"])
def bind_logistic_float(call: Call) -> Run:
    """``1 / (1 + exp(-x))`` in float32."""
    if call.output.dtype != "float32":
        raise NoDefinition("it is not float32")
    return lambda values: ((1 / (1 + np.exp(-required(values[0])))).astype(np.float32),)
