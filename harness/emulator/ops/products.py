"""MUL, SQUARED_DIFFERENCE, MINIMUM and MAXIMUM of quantized tensors."""

import numpy as np

from harness.arithmetic.fixed_point import to_int64
from harness.arithmetic.requantize import (
    MULTIPLIERS,
    ROUNDINGS,
    quantize_multiplier,
    round_s1,
)
from harness.emulator.definitions import (
    Call,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import fused_activation, tflite_clamp, xnnpack_clamp


@define(["MUL"], ["S1:single", "S1:double", "S5:single", "S6:single"], elementwise=1)
def bind_mul(call: Call) -> Run:
    """``clip(round((x1 - z1) (x2 - z2), s1 s2 / sy) + zy)``, the multiplier in float32 or
    double.

    S1 is LiteRT's and, in double, TFLM's; S5 and S6 are XNNPACK's, each with its own rule for the
    fused clamp. Domain of S5 and S6: the multiplier in [2^-16, 2^8), which LiteRT's delegate
    checks.

    Source: LiteRT kernels/mul.cc, Prepare; internal/reference/integer_ops/mul.h, MulElementwise.
    TFLM micro/kernels/mul_common.cc, CalculateOpDataMul.
    XNNPACK src/qs8-vmul/scalar.c.in, rndnu-neon.c.in; microparams-init.c.
    """
    (s_1, z_1), (s_2, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    name, _, precision = call.semantics.partition(":")
    make = MULTIPLIERS[precision]
    real = make(np.float32(s_1), np.asarray(s_2, np.float32), np.float32(s_y))
    multiplier, shift = ROUNDINGS[name].encode(real)
    apply = ROUNDINGS[name].apply
    rule = tflite_clamp if name == "S1" else xnnpack_clamp
    low, high = rule(fused_activation(call), s_y, z_y, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x_1 = to_int64(required(values[0])) - z_1
        x_2 = to_int64(required(values[1])) - z_2
        y = apply(x_1 * x_2, multiplier, shift) + z_y
        return (np.clip(y, low, high).astype(dtype),)

    return run


@define(["SQUARED_DIFFERENCE"], ["shifted-S1"], elementwise=1)
def bind_squared_difference(call: Call) -> Run:
    """Both inputs are brought to twice the larger scale, subtracted, squared and brought down.

    ``y = zy + S1(d^2, t^2 / (2^14 sy))``, ``d = S1((x1 - z1) 2^7, s1 / t) - S1((x2 - z2) 2^7,
    s2 / t)``, ``t = 2 max(s1, s2)``; the multipliers in double. Domain: all of them below 1.

    Source: LiteRT kernels/squared_difference.cc, Prepare and SquaredDifference.
    """
    (s_1, z_1), (s_2, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    twice = 2.0 * max(s_1, s_2)
    first = quantize_multiplier(np.asarray(s_1 / twice))
    second = quantize_multiplier(np.asarray(s_2 / twice))
    output = quantize_multiplier(np.asarray(twice * twice / ((1 << 14) * s_y)))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x_1 = (to_int64(required(values[0])) - z_1) << 7
        x_2 = (to_int64(required(values[1])) - z_2) << 7
        difference = round_s1(x_1, *first) - round_s1(x_2, *second)
        y = round_s1(difference * difference, *output) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype),)

    return run


@define(["MINIMUM", "MAXIMUM"], ["raw"], elementwise=1)
def bind_extremum(call: Call) -> Run:
    """The smaller or larger stored value, whatever the quantizations are.

    Source: LiteRT kernels/maximum_minimum.cc, MinimumOp and MaximumOp.
    """
    choose = np.minimum if call.node.op == "MINIMUM" else np.maximum
    return lambda values: (choose(required(values[0]), required(values[1])),)
