"""SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY, REDUCE_ALL, ARG_MAX, ARG_MIN, TOPK_V2."""

from math import prod

import numpy as np

from harness.arithmetic.fixed_point import round_half_away, to_int64, wrap_int32
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.requantize import quantize_multiplier, round_s1, round_s8
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    refuse_nan,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.mean import make_reduction
from harness.emulator.ops.shape import integers, output_dtype, same_quantization


@define(["SUM"], ["as-uint8-S1"])
def bind_sum_reference(call: Call) -> Run:
    """``S1(sum - n z_x, s_x / s_y) + z_y``, clipped to 0..255: the kernel takes int8 for uint8.

    Its int8 values count as ``x mod 256`` while the zero point stays signed, and so do the results.

    Source: LiteRT kernels/reduce.cc, QuantizedMeanOrSum; internal/reference/reduce.h,
    QuantizedMeanOrSum.
    """
    reduction = make_reduction(call)
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(s_x / s_y))
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]).view(np.uint8))
        total = wrap_int32(x.sum(axis=reduction.axes) - z_x * reduction.elements)
        y = np.clip(round_s1(total, multiplier, shift) + z_y, 0, 255).astype(np.uint8)
        return (y.view(dtype).reshape(reduction.shape),)

    return run


@define(["SUM"], ["float-once", "float-once-fused"])
def bind_sum_optimized(call: Call) -> Run:
    """``round(sum * t + ((-z_x) * t) * n) + z_y``, ``t = s_x / s_y``, in float32, ties
    away; "fused" where the compiler rounds a product and its sum once (aarch64).

    Source: LiteRT kernels/internal/optimized/reduce.h, QuantizedMeanOrSum.
    """
    reduction = make_reduction(call)
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    scale = np.float32(s_x) / np.float32(s_y)
    bias = np.float32(-z_x) * scale * np.float32(reduction.elements)
    fused = call.semantics.endswith("fused")
    dtype = output_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        total = to_int64(required(values[0])).sum(axis=reduction.axes)
        x = np.atleast_1d(wrap_int32(total)).astype(np.float32)
        real = fused_multiply_add(x, np.full_like(x, scale), np.full_like(x, bias))
        y = round_half_away(real if fused else x * scale + bias).astype(np.int64) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype).reshape(reduction.shape),)

    return run


@define(["SUM", "REDUCE_PROD"], ["wrapping"])
def bind_wrapping(call: Call) -> Run:
    """Sum or product of plain integers, modulo the width of the dtype."""
    reduction = make_reduction(call)
    operation = np.add if call.node.op == "SUM" else np.multiply

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        y = operation.reduce(x, axis=reduction.axes, dtype=x.dtype)
        return (np.asarray(y).reshape(reduction.shape),)

    return run


@define(["REDUCE_PROD"], ["S8-each-step", "S8-each-step-or-copy"])
def bind_product(call: Call) -> Run:
    """Each factor's product is scaled by ``s_x / s_y^(1/n)`` with S8, and the last one once more;
    "or copy" where one factor is left as it is.

    Source: LiteRT kernels/reduce.cc, GetQuantProdScaling; internal/reference/reduce.h,
    QuantizedReduceProd; internal/optimized/reduce.h, ReducerNext and ReduceIsCopy.
    """
    reduction = make_reduction(call)
    if reduction.elements == 1 and call.semantics.endswith("copy"):
        return lambda values: (required(values[0]).reshape(reduction.shape),)
    if not reduction.axes:
        raise NoDefinition("it has no axes")
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(s_x / s_y ** (1.0 / reduction.elements)))
    dtype = output_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        factors = np.moveaxis(x, reduction.axes, range(len(reduction.axes)))
        factors = factors.reshape(reduction.elements, prod(reduction.shape))
        product = factors[0]
        for factor in factors[1:]:
            product = round_s8(product * factor, multiplier, shift)
        y = wrap_int32(round_s8(product, multiplier, shift) + z_y)
        return (np.clip(y, limits.min, limits.max).astype(dtype).reshape(reduction.shape),)

    return run


_PICK = {
    "REDUCE_MAX": np.maximum,
    "REDUCE_MIN": np.minimum,
    "REDUCE_ANY": np.logical_or,
    "REDUCE_ALL": np.logical_and,
}


@define(list(_PICK), ["pick"])
def bind_pick(call: Call) -> Run:
    """The largest or smallest, or whether any or all hold: nothing is rounded. Domain: no NaN."""
    same_quantization([call.inputs[0], call.output])
    reduction, operation = make_reduction(call), _PICK[call.node.op]
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        refuse_nan(x)
        y = operation.reduce(x, axis=reduction.axes)
        return (np.asarray(y, dtype).reshape(reduction.shape),)

    return run


@define(["ARG_MAX", "ARG_MIN"], ["first"])
def bind_position(call: Call) -> Run:
    """The position of the largest or smallest along an axis, the first of equal ones.

    Domain: no NaN. Source: LiteRT kernels/internal/reference/arg_min_max.h, ArgMinMax;
    optimized/optimized_ops.h, ArgMaxVector, gives the same.
    """
    dtype = output_dtype(call.output)
    position = np.argmax if call.node.op == "ARG_MAX" else np.argmin

    def run(values: Values) -> tuple[Array]:
        x, axis = required(values[0]), integers(values, 1)[0]
        refuse_nan(x)
        if not -x.ndim <= axis < x.ndim:
            raise CannotRun(f"axis {axis} of {x.ndim} dimensions")
        return (np.asarray(position(x, axis=axis), dtype),)

    return run


@define(["TOPK_V2"], ["first"])
def bind_top(call: Call) -> Run:
    """The k largest of the last axis, falling, and their positions; the first of equal ones first.

    Domain: no NaN. Source: LiteRT kernels/topk_v2.cc, TopContainer.
    """
    same_quantization([call.inputs[0], call.output])
    dtype = output_dtype(call.outputs[1])

    def run(values: Values) -> tuple[Array, ...]:
        x, count = required(values[0]), integers(values, 1)[0]
        refuse_nan(x)
        if not x.ndim or not 0 <= count <= x.shape[-1]:
            raise CannotRun(f"the {count} largest of {list(x.shape)}")
        rising = np.argsort(x[..., ::-1], axis=-1, kind="stable")
        order = (x.shape[-1] - 1 - rising[..., ::-1])[..., :count]
        return np.take_along_axis(x, order, -1), order.astype(dtype)

    return run


@define(["SUM", "REDUCE_PROD"], ["float"])
def bind_float(call: Call) -> Run:
    """Sum or product in float32."""
    reduction = make_reduction(call)
    operation = np.add if call.node.op == "SUM" else np.multiply

    def run(values: Values) -> tuple[Array]:
        y = operation.reduce(required(values[0]), axis=reduction.axes, dtype=np.float32)
        return (np.asarray(y, np.float32).reshape(reduction.shape),)

    return run
