"""What TensorFlow Lite Micro computes otherwise than LiteRT's reference kernels."""

import numpy as np

from harness.arithmetic.fixed_point import shift_right_ties_away, to_int64, wrap_int32
from harness.arithmetic.gemmlowp import logistic, tanh
from harness.arithmetic.requantize import quantize_multiplier, round_s1
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
from harness.emulator.ops.clamp import tflite_clamp
from harness.emulator.ops.mean import make_reduction

_INTEGER_BITS = 4
"""Of the fixed-point argument of LOGISTIC and TANH."""


@define(["LOGISTIC", "TANH"], ["gemmlowp"], elementwise=1)
def bind_sigmoid(call: Call) -> Run:
    """gemmlowp's function of ``S1(x - z_x, 2^27 s_x)``, a Q4; 1/256 and 1/128 a step, ties away.

    Arguments that would reach 15 give the lowest or highest output. Domain: int8, an output
    quantized as (1/256, -128) for LOGISTIC and (1/128, 0) for TANH, which the file is taken to
    hold; s_x >= 2^-27.

    Source: TFLM micro/kernels/logistic_common.cc, tanh.cc; kernels/internal/reference/integer_ops/
    logistic.h, tanh.h; kernels/internal/quantization_util.cc, CalculateInputRadius.
    """
    s_x, z_x = scale_and_zero_point(call.input(0))
    multiplier, shift = quantize_multiplier(np.asarray(s_x * 2.0 ** (31 - _INTEGER_BITS)))
    reach = (((1 << _INTEGER_BITS) - 1) << (31 - _INTEGER_BITS)) >> max(int(shift), 0)
    function, bits, zero = (logistic, 8, -128) if call.node.op == "LOGISTIC" else (tanh, 7, 0)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0])) - z_x
        real = function(round_s1(np.clip(x, -reach, reach), multiplier, shift), _INTEGER_BITS)
        y = np.clip(shift_right_ties_away(real, to_int64(31 - bits)) + zero, -128, 127)
        y = np.where(x <= -reach, limits.min, np.where(x >= reach, limits.max, y))
        return (y.astype(dtype),)

    return run


@define(["RELU6"], ["raw"], elementwise=1)
def bind_relu6(call: Call) -> Run:
    """The stored values, clipped to what 0 and 6 are in the input's quantization, whatever the
    output's is.

    Source: TFLM micro/kernels/activations_common.cc, Relu6Prepare; activations.h, Relu6Quantized.
    """
    low, high = tflite_clamp("RELU6", *scale_and_zero_point(call.input(0)), call.input(0).dtype)
    dtype = numpy_dtype(call.output)
    return lambda values: (np.clip(required(values[0]), low, high).astype(dtype),)


@define(["SUM"], ["S1"])
def bind_sum(call: Call) -> Run:
    """``clip(S1(sum - n z_x, s_x / s_y) + z_y)``, the sum in int32, which wraps.

    Source: TFLM micro/kernels/reduce_common.cc, EvalSumHelper; kernels/internal/reference/reduce.h,
    QuantizedMeanOrSum.
    """
    reduction = make_reduction(call)
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    multiplier, shift = quantize_multiplier(np.asarray(s_x / s_y))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def run(values: Values) -> tuple[Array]:
        total = required(values[0]).sum(axis=reduction.axes, dtype=np.int64)
        y = round_s1(wrap_int32(total - z_x * reduction.elements), multiplier, shift) + z_y
        return (np.clip(y, limits.min, limits.max).astype(dtype).reshape(reduction.shape),)

    return run
