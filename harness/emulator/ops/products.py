"""MUL, SQUARED_DIFFERENCE, MINIMUM and MAXIMUM of quantized tensors."""

import numpy as np

from harness.arithmetic.fixed_point import (
    doubling_high_mul_int16,
    saturate_int16,
    shift_right_ties_away,
    to_int64,
    wrap_int16,
)
from harness.arithmetic.requantize import (
    MULTIPLIERS,
    ROUNDINGS,
    quantize_multiplier,
    round_s1,
)
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.broadcast import walk
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


@define(["MUL"], ["S1:single-saturating-blocks-of-16"], elementwise=16)
@define(["MUL"], ["S1:single-saturating-blocks-of-8"], elementwise=8)
@define(["MUL"], ["S1:single-wrapping-blocks-of-8"])
def bind_mul_blocks(call: Call) -> Run:
    """As "S1:single", but whole blocks of each run (`ops.broadcast`) hold results in 16 bits.

    ``clip(wrap16(narrow(S1((x1 - z1) (x2 - z2), s1 s2 / sy)) + zy))``, where narrow saturates to
    int16 or wraps. The rest of a run does neither. Domain: not a generic walk.

    Source: LiteRT kernels/internal/optimized/integer_ops/mul.h and optimized_ops.h, MulElementwise
    and MulSimpleBroadcast with USE_NEON (on x86 through SSE).
    """
    found = walk(call.input(0).shape, call.input(1).shape)
    if found.kind == "generic":
        raise NoDefinition("its inputs are broadcast along more axes than blocks are made for")
    narrow = wrap_int16 if "wrapping" in call.semantics else saturate_int16
    block = 16 if call.semantics.endswith("16") else 8
    body = found.run // block * block
    (s_1, z_1), (s_2, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    real = MULTIPLIERS["single"](np.float32(s_1), np.asarray(s_2, np.float32), np.float32(s_y))
    multiplier, shift = quantize_multiplier(real)
    clamp = tflite_clamp(fused_activation(call), s_y, z_y, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x_1 = to_int64(required(values[0])) - z_1
        x_2 = to_int64(required(values[1])) - z_2
        scaled = round_s1(x_1 * x_2, multiplier, shift)
        place = np.arange(scaled.size).reshape(scaled.shape) % found.run
        y = np.where(place < body, wrap_int16(narrow(scaled) + z_y), scaled + z_y)
        return (np.clip(y, *clamp).astype(dtype),)

    return run


@define(["MUL"], ["doubling-high-16"])
def bind_mul_to_bytes(call: Call) -> Run:
    """``clip(round(round(x1 x2 / 2^15) / 2^8) + zy)`` of int16, whatever the scales are.

    The first rounding takes ties up, the second away from zero. Domain: equal shapes.

    Source: LiteRT kernels/internal/reference/integer_ops/mul.h, Mul from int16 to int8;
    optimized/optimized_ops.h, Mul from int16 to uint8.
    """
    if call.input(0).shape != call.input(1).shape:
        raise CannotRun("its inputs differ in shape")
    s_y, z_y = scale_and_zero_point(call.output)
    clamp = tflite_clamp(fused_activation(call), s_y, z_y, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        product = doubling_high_mul_int16(*(to_int64(required(value)) for value in values))
        y = shift_right_ties_away(product, to_int64(8)) + z_y
        return (np.clip(y, *clamp).astype(dtype),)

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
