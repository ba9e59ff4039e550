"""LOGISTIC and TANH of int16 tensors."""

import numpy as np

from harness.arithmetic.fixed_point import Int64, to_int64
from harness.arithmetic.gemmlowp import logistic, tanh
from harness.emulator.definitions import (
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array

_SCALED_ONE = 4096.0 * 3.0
_LARGEST = 32767
_ONE_ABOVE = (
    4,
    8,
    12,
    14,
    15,
    16,
    17,
    19,
    20,
    21,
    22,
    25,
    27,
    28,
    29,
    30,
    31,
    33,
    34,
    35,
    37,
    39,
    40,
    41,
    43,
    44,
    45,
    46,
    49,
    50,
    54,
    62,
    63,
    64,
    66,
    82,
    86,
    93,
    100,
    103,
    112,
    116,
    135,
    255,
)
"""Where the runtime's table is one above the rounded sigmoid."""


def _multiplier(call: Call, largest_power: int) -> tuple[int, int]:
    """What brings x to steps of 1 / 12288, and how far the product is shifted right.

    Source: LiteRT kernels/activations.cc, SigmoidPrepare and TanhPrepare; kernel_util.cc,
    CheckedLog2.
    """
    scale = scale_and_zero_point(call.input(0))[0]
    logarithm = np.log2(scale)
    power = 12 + int(np.rint(logarithm))
    if abs(logarithm - np.rint(logarithm)) < 1e-3 and 0 <= power <= largest_power:
        return 3 << power, 0
    multiplier, shift = scale * _SCALED_ONE, 0
    if multiplier > _LARGEST:
        raise NoDefinition(f"its input scale {scale} is over {_LARGEST / _SCALED_ONE:.3}")
    while multiplier <= _LARGEST / 2 and shift <= 30:
        multiplier, shift = 2 * multiplier, shift + 1
    return int(multiplier), shift


def _interpolate(x: Int64, bits: int) -> Int64:
    """``sigmoid(x / (24 * 2^bits))`` for x >= 0, in steps of 2^-(16 + bits), between 256 values.

    Source: LiteRT kernels/internal/common.h, sigmoid_table_uint16.
    """
    exact = 65536 / (1 + np.exp(-np.arange(257) / 24))
    table = to_int64(np.rint(exact))
    table[list(_ONE_ABOVE)] += 1
    table = np.minimum(table, 65535)
    index = np.minimum(x >> bits, 255)
    low, high = table[index], table[index + 1]
    return to_int64((low << bits) + (x & ((1 << bits) - 1)) * (high - low))


@define(["LOGISTIC", "TANH"], ["interpolated"])
def bind_interpolated(call: Call) -> Run:
    """A table of ``sigmoid(i / 24)`` in 16 bits, and straight lines between its values.

    ``tanh(x) = 2 sigmoid(2 x) - 1`` uses the same one. Beyond the table the highest value.

    Source: LiteRT kernels/internal/reference/integer_ops/logistic.h and tanh.h, for int16.
    """
    is_tanh = call.node.op == "TANH"
    multiplier, shift = _multiplier(call, 1 if is_tanh else 0)
    half = (1 << shift) >> 1

    def logistic(x: Int64) -> Int64:
        size = np.abs(x)
        value = np.where(size >> 9 >= 255, 0x7FFF << 10, _interpolate(size, 9))
        return to_int64(np.where(x >= 0, value + (1 << 9), (1 << 25) - value + (1 << 9) - 1)) >> 10

    def tanh(x: Int64) -> Int64:
        size = np.abs(x)
        value = np.where(size >> 8 >= 255, 0xFFFF << 8, _interpolate(size, 8)) - (1 << 23)
        return to_int64(np.where(x >= 0, value + (1 << 7), (1 << 7) - 1 - value)) >> 8

    def run(values: Values) -> tuple[Array]:
        x = (to_int64(required(values[0])) * multiplier + half) >> shift
        return ((tanh(x) if is_tanh else logistic(x)).astype(np.int16),)

    return run


@define(["LOGISTIC", "TANH"], ["gemmlowp-16"])
def bind_gemmlowp(call: Call) -> Run:
    """Fixed point of 16 bits, the input in Q3. Domain: an input scale of 2^-12; of TANH, 2^-11 too,
    whose inputs are doubled and saturate.

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, Logistic and Tanh for int16.
    """
    left = round(np.log2(scale_and_zero_point(call.input(0))[0])) + 12
    function = tanh if call.node.op == "TANH" else logistic
    limits = np.iinfo(np.int16)

    def run(values: Values) -> tuple[Array]:
        x = np.clip(to_int64(required(values[0])) << left, limits.min, limits.max)
        return (function(x, 3, 16).astype(np.int16),)

    return run
