"""DIV of quantized tensors."""

import numpy as np

from harness.arithmetic.fixed_point import Int64, doubling_high_mul, shift_right_ties_away, to_int64
from harness.arithmetic.gemmlowp import reciprocal
from harness.arithmetic.requantize import quantize_multiplier
from harness.emulator.definitions import (
    Call,
    CannotRun,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import fused_activation, tflite_clamp


@define(["DIV"], ["reciprocal"], elementwise=1)
def bind_div(call: Call) -> Run:
    """``S1((x1 - z1) * (1 / (x2 - z2)), s1 / (s2 sy)) + zy``, the multiplier in float32.

    The dividend is brought to 31 bits, the reciprocal is gemmlowp's, and both products are
    saturating rounding doubling high products; one shift, ties away from zero, undoes all shifts.
    Domain: no divisor is its zero point (the runtime refuses), quotients below 1 in all.

    Source: LiteRT kernels/div.cc, Prepare; kernels/internal/reference/div.h, DivElementwise.
    """
    (s_1, z_1), (s_2, z_2) = (scale_and_zero_point(call.input(i)) for i in (0, 1))
    s_y, z_y = scale_and_zero_point(call.output)
    real = np.asarray(np.float32(s_1) / (np.float32(s_2) * np.float32(s_y)), np.float32)
    multiplier, shift = quantize_multiplier(real.astype(np.float64))
    dtype = np.dtype(call.output.dtype)
    low, high = tflite_clamp(fused_activation(call), s_y, z_y, dtype.name)

    def run(values: Values) -> tuple[Array]:
        divisor = to_int64(required(values[1])) - z_2
        if np.any(divisor == 0):
            raise CannotRun("it divides by zero")
        dividend = (to_int64(required(values[0])) - z_1) * np.sign(divisor)
        inverse, above = reciprocal(np.abs(divisor), 31)
        bits = np.frexp(np.where(dividend < 0, ~dividend, dividend).astype(np.float64))[1]
        headroom = 31 - bits.astype(np.int64)
        quotient = doubling_high_mul(dividend << headroom, inverse)
        y = _shift_right(doubling_high_mul(quotient, multiplier), above + headroom - shift) + z_y
        return (np.clip(y, low, high).astype(dtype),)

    return run


def _shift_right(x: Int64, shift: Int64) -> Int64:
    """As `shift_right_ties_away`; by more than 31, which small dividends ask for, what processors
    make of the code: the register is shifted by the rest modulo 32, and what was cut off counts as
    all of `x`."""
    inside = np.minimum(shift, 31)
    beyond = (x >> (shift & 31)) + (x > (x < 0).astype(np.int64) - 1)
    return np.where(shift > 31, beyond, shift_right_ties_away(x, inside))
