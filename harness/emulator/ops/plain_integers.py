"""Plain integers: ABS, DIV, MEAN, SQUARED_DIFFERENCE and CUMSUM of int32 and int64; CUMSUM of
float32 as well."""

import numpy as np

from harness.arithmetic.fixed_point import to_int64
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    Run,
    Values,
    define,
    required,
    same_shape,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import fused_activation, real_range
from harness.emulator.ops.mean import make_reduction
from harness.emulator.ops.shape import integers, output_dtype

OUTPUT_SHAPES["CUMSUM"] = same_shape


@define(["ABS"], ["wrapping"])
def bind_abs(_call: Call) -> Run:
    """The magnitude; the lowest value stays.

    Source: LiteRT kernels/elementwise.cc, AbsEval.
    """
    return lambda values: (np.abs(required(values[0])),)


@define(["SQUARED_DIFFERENCE"], ["wrapping"])
def bind_squared_difference(_call: Call) -> Run:
    """``(x1 - x2)^2``, modulo the width of the dtype.

    Source: LiteRT kernels/squared_difference.cc, SquaredDifference.
    """
    return lambda values: (np.square(required(values[0]) - required(values[1])),)


@define(["DIV"], ["truncated"])
def bind_div(call: Call) -> Run:
    """The quotient cut towards zero, then the fused clamp. Domain: no divisor is 0, which the
    runtime refuses, and not -2^31 / -1.

    Source: LiteRT kernels/div.cc, EvalDiv; internal/reference/div.h, Div.
    """
    low, high = real_range(fused_activation(call))
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x, divisor = to_int64(required(values[0])), to_int64(required(values[1]))
        if np.any(divisor == 0):
            raise CannotRun("it divides by zero")
        y = np.abs(x) // np.abs(divisor) * np.sign(x) * np.sign(divisor)
        if low is not None or high is not None:
            y = np.clip(y, None if low is None else int(low), None if high is None else int(high))
        return (y.astype(dtype),)

    return run


@define(["MEAN"], ["truncated"])
def bind_mean(call: Call) -> Run:
    """``sum / n`` in int64, which wraps, cut towards zero.

    Source: LiteRT kernels/reduce.cc, EvalMean; internal/reference/reduce.h, Mean.
    """
    reduction = make_reduction(call)
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        total = np.asarray(to_int64(required(values[0])).sum(axis=reduction.axes))
        quotient = np.where(total < 0, -(-total // reduction.elements), total // reduction.elements)
        return (quotient.astype(dtype).reshape(reduction.shape),)

    return run


@define(["CUMSUM"], ["wrapping", "float"])
def bind_cumsum(call: Call) -> Run:
    """Sums of all elements up to each along an axis, modulo the width of the dtype, or in float32;
    "exclusive": without that element; "reverse": from the end.

    Source: LiteRT kernels/cumsum.cc; internal/optimized/optimized_ops.h, CumSum.
    """
    options = call.node.options
    exclusive, reverse = bool(options.get("exclusive")), bool(options.get("reverse"))

    def run(values: Values) -> tuple[Array]:
        x, axis = required(values[0]), integers(values, 1)[0]
        if not -x.ndim <= axis < x.ndim:
            raise CannotRun(f"axis {axis} of {x.ndim} dimensions")
        turned = np.flip(x, axis) if reverse else x
        y = np.cumsum(turned, axis=axis, dtype=x.dtype)
        if exclusive:
            y = np.roll(y, 1, axis)
            y[(slice(None),) * (axis % x.ndim) + (slice(0, 1),)] = 0
        return (np.ascontiguousarray(np.flip(y, axis) if reverse else y),)

    return run
