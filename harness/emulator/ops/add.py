"""ADD and SUB of quantized tensors."""

from dataclasses import dataclass

import numpy as np

from harness.arithmetic.fixed_point import (
    Int64,
    doubling_high_mul,
    shift_right_ties_away,
    shift_right_ties_up,
    to_int64,
)
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
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
from harness.emulator.ops.clamp import (
    clamp_float,
    fused_activation,
    real_range,
    tflite_clamp,
    xnnpack_clamp,
)

_LEFT_SHIFTS = {"int8": 20, "uint8": 20, "int16": 15}


def broadcast_shape(call: Call) -> tuple[int, ...]:
    """Shape of an element-wise op's output."""
    return np.broadcast_shapes(call.input(0).shape, call.input(1).shape)


OUTPUT_SHAPES.update(dict.fromkeys(("ADD", "SUB", "MUL"), broadcast_shape))


@dataclass(frozen=True)
class Shifted:
    """What LiteRT's ADD and SUB compute with; each multiplier as (multiplier, shift)."""

    zero_points: tuple[int, int, int]
    first: tuple[Int64, Int64]
    second: tuple[Int64, Int64]
    output: tuple[Int64, Int64]
    left: int
    clamp: tuple[int, int]


def make_shifted(call: Call) -> Shifted:
    """``s1 / t``, ``s2 / t`` and ``t / (2^k s_y)`` in double, ``t = 2 max(s1, s2)`` in float32."""
    (s_1, z_1), (s_2, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    left = _LEFT_SHIFTS.get(call.output.dtype)
    if left is None:
        raise NoDefinition(f"its output is {call.output.dtype}")
    twice = 2.0 * max(s_1, s_2)
    m_2, shift_2 = quantize_multiplier(np.asarray(s_2 / twice))
    sign = -1 if call.node.op == "SUB" else 1
    return Shifted(
        (z_1, z_2, z_y),
        quantize_multiplier(np.asarray(s_1 / twice)),
        (sign * m_2, shift_2),
        quantize_multiplier(np.asarray(twice / ((1 << left) * s_y))),
        left,
        tflite_clamp(fused_activation(call), s_y, z_y, call.output.dtype),
    )


@define(["ADD", "SUB"], ["shifted-S1"], elementwise=1)
def bind_tflite(call: Call) -> Run:
    """Both inputs are raised by 2^k, brought to twice the larger scale, added, and brought down.

    ``y = z_y + S1(S1((x1 - z1) 2^k, s1 / t) +- S1((x2 - z2) 2^k, s2 / t), t / (2^k s_y))``, k = 20
    for 8 bits, 15 for 16; t and the multipliers as in `make_shifted`.

    Source: LiteRT kernels/add.cc, Prepare; internal/reference/add.h, AddElementwise.
    """
    p = make_shifted(call)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x_1 = (to_int64(required(values[0])) - p.zero_points[0]) << p.left
        x_2 = (to_int64(required(values[1])) - p.zero_points[1]) << p.left
        y = round_s1(round_s1(x_1, *p.first) + round_s1(x_2, *p.second), *p.output)
        return (np.clip(y + p.zero_points[2], *p.clamp).astype(dtype),)

    return run


@define(["SUB"], ["shifted-left", "shifted-left-blocks-of-4"])
def bind_shifted_left(call: Call) -> Run:
    """SUB whose last multiplier is 1 or more; the kernel takes it for one below 1.

    As "shifted-S1", but the last shift to the right is by a negative number, which C++ leaves
    undefined: a register is shifted modulo its size (`shift_right_ties_away`). In whole blocks of
    4, which x86 shifts in vectors, a shift so large leaves the sign alone: 1 from zero up, -1
    below. Inputs of different shapes are not computed in blocks.

    Source: LiteRT kernels/sub.cc, PrepareGeneralSubOp; internal/reference/sub.h, SubElementwise
    and BroadcastQuantSubSlow; internal/common.h, MultiplyByQuantizedMultiplierSmallerThanOneExp.
    """
    p = make_shifted(call)
    dtype = numpy_dtype(call.output)
    blocks = "blocks" in call.semantics and call.input(0).shape == call.input(1).shape

    def run(values: Values) -> tuple[Array]:
        x_1 = (to_int64(required(values[0])) - p.zero_points[0]) << p.left
        x_2 = (to_int64(required(values[1])) - p.zero_points[1]) << p.left
        multiplier, shift = p.output
        high = doubling_high_mul(round_s1(x_1, *p.first) + round_s1(x_2, *p.second), multiplier)
        y = shift_right_ties_away(high, -shift)
        if blocks and shift > 0:
            body = np.arange(high.size).reshape(high.shape) < high.size // 4 * 4
            y = np.where(body, np.where(high < 0, -1, 1), y)
        return (np.clip(y + p.zero_points[2], *p.clamp).astype(dtype),)

    return run


def power_of_two(scale: float) -> int | None:
    """The exponent of a scale that is nearly a power of two, else None.

    Source: LiteRT kernels/kernel_util.cc, CheckedLog2.
    """
    logarithm = float(np.log2(scale)) if scale > 0 else 0.5
    exponent = round(logarithm)
    return exponent if abs(logarithm - exponent) < 1e-3 else None


@define(["ADD", "SUB"], ["powers-of-two"])
def bind_powers_of_two(call: Call) -> Run:
    """``clip(x1 / 2^k1 +- x2 / 2^k2)`` of int16, ties away from zero; ``2^-k = s / s_y``.

    Domain: zero points 0, k1 and k2 >= 0, one of them 0.

    Source: LiteRT kernels/add.cc and sub.cc, Prepare; internal/reference/add.h, Add;
    internal/reference/sub.h, BroadcastSub16POTSlow.
    """
    scales = [scale_and_zero_point(t)[0] for t in (call.input(0), call.input(1), call.output)]
    powers = [power_of_two(scale) for scale in scales]
    k_1, k_2 = ((powers[2] or 0) - (power or 0) for power in powers[:2])
    if min(k_1, k_2) != 0:
        raise CannotRun(f"input scales {scales[:2]} for an output scale {scales[2]}")
    low, high = tflite_clamp(fused_activation(call), scales[2], 0, "int16")
    sign = -1 if call.node.op == "SUB" else 1

    def run(values: Values) -> tuple[Array]:
        x_1 = shift_right_ties_away(to_int64(required(values[0])), to_int64(k_1))
        x_2 = shift_right_ties_away(to_int64(required(values[1])), to_int64(k_2))
        return (np.clip(x_1 + sign * x_2, low, high).astype(np.int16),)

    return run


def xnnpack_multipliers(call: Call) -> tuple[int, int, int]:
    """(m1, m2, k) of `bind_xnnpack`; m2 is negative for SUB."""
    (s_1, _), (s_2, _) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    ratios = np.asarray([s_1, s_2], np.float32) / np.float32(scale_and_zero_point(call.output)[0])
    shift = 20 - (int(np.frexp(ratios.max())[1]) - 1)
    m_1, m_2 = (int(m) for m in np.rint(np.ldexp(ratios, shift)))
    return m_1, -m_2 if call.node.op == "SUB" else m_2, shift


@define(["ADD", "SUB"], ["xnnpack"], elementwise=1)
def bind_xnnpack(call: Call) -> Run:
    """Two 21-bit multipliers, one sum, one shift, ties up.

    ``y = z_y + (m1 (x1 - z1) +- m2 (x2 - z2) + 2^(k-1)) >> k``, ``mi = rint(si / sy * 2^k)``,
    ``k = 20 - floor(log2(max(s1 / sy, s2 / sy)))``, all in float32. Domain: both quotients in
    [2^-10, 2^8), which LiteRT's delegate checks.

    Source: XNNPACK src/microparams-init.c, xnn_init_qs8_add_minmax_scalar_params;
    src/qs8-vadd/scalar.c.in; the fused activation is a clamp of its own (src/subgraph/binary.c).
    """
    (_, z_1), (_, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    m_1, m_2, shift = xnnpack_multipliers(call)
    low, high = xnnpack_clamp(fused_activation(call), s_y, z_y, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x_1 = to_int64(required(values[0])) - z_1
        x_2 = to_int64(required(values[1])) - z_2
        y = shift_right_ties_up(m_1 * x_1 + m_2 * x_2, to_int64(shift)) + z_y
        return (np.clip(y, low, high).astype(dtype),)

    return run


@define(["ADD", "SUB", "MUL"], ["wrapping"])
def bind_plain(call: Call) -> Run:
    """Plain integers, modulo the width of the dtype, then the fused clamp.

    Source: LiteRT kernels/add.cc, EvalAdd; sub.cc, EvalSub; mul.cc, EvalMul.
    """
    operation = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[call.node.op]
    low, high = real_range(fused_activation(call))

    def run(values: Values) -> tuple[Array]:
        y = operation(required(values[0]), required(values[1]))
        if low is not None or high is not None:
            y = np.clip(y, None if low is None else int(low), None if high is None else int(high))
        return (y,)

    return run


@define(["ADD", "SUB", "MUL"], ["float"])
def bind_float(call: Call) -> Run:
    """One float32 operation for each element, then the fused clamp."""
    operation = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[call.node.op]
    activation = fused_activation(call)
    return lambda values: (
        clamp_float(operation(required(values[0]), required(values[1])), activation),
    )
