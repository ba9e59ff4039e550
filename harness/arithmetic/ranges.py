"""How far apart scales may lie before a runtime's integers leave their registers.

Fixed-point kernels are written for results that fit in 32 bits. Where scales lie further apart,
C++ leaves open what comes out: compilers and processors decide. No entry promises exactly there,
but for those that were measured there.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # profile.py asks this module
    from harness.arithmetic.profile import Signature

_ROOM = 2.0**30
"""Results stay below it, so that a zero point can be added in 32 bits."""
_MAGNITUDES = {
    "int2": 2.0**2,
    "int4": 2.0**4,
    "int8": 2.0**8,
    "uint8": 2.0**8,
    "int16": 2.0**16,
    "int32": 2.0**32,
}
"""Largest magnitude of a value with its zero point taken off."""
_LARGEST_OF_64_BITS = 2.0**7
"""MultiplyByQuantizedMultiplier of int64 sums shifts by at most 7 to the left."""
_SUM_BITS = {"int8": 20, "uint8": 20, "int16": 15}


_FINEST_OF_FLOATS = 2.0**-24
"""A finer scale brings floats of ordinary size out of 32 bits."""


def leaves_registers(s: Signature) -> str:
    """Why the scales of a node may drive its integers out of 32 bits; "" where they do not.

    Biases are taken for no larger than the sums that they are added to.
    """
    output = s.scales[-1] if s.scales else ()
    if s.output not in _MAGNITUDES or not output:
        return ""
    if min(output) <= 0:
        return "an output scale is not positive"
    inputs = s.scales[:-1]
    if s.op == "QUANTIZE" and s.dtypes[0] == "float32" and min(output) < _FINEST_OF_FLOATS:
        return f"floats over the output scale {min(output)} may leave 32 bits"
    if s.dtypes[0] not in _MAGNITUDES or not inputs or not inputs[0]:
        return ""
    largest = _RULES.get(s.op, _single)(s)
    if largest < _ROOM:
        return ""
    return (
        f"scales {[max(scales) for scales in inputs if scales]} for an output scale "
        f"{min(output)} may drive its integers out of 32 bits"
    )


def _single(s: Signature) -> float:
    """Each input rescaled to the output."""
    pairs = zip(s.dtypes, s.scales[:-1], strict=True)
    largest = (_MAGNITUDES[d] * max(q) for d, q in pairs if d in _MAGNITUDES and q)
    return max(largest, default=0.0) / min(s.scales[-1])


def _sum(s: Signature) -> float:
    """ADD and SUB: twice the larger scale over 2^k output scales is a multiplier below 1."""
    if len(s.scales) != 3 or not s.scales[1] or s.output not in _SUM_BITS:
        return 0.0
    twice = 2 * max(*s.scales[0], *s.scales[1])
    return 0.0 if twice <= 2.0 ** _SUM_BITS[s.output] * min(s.scales[2]) else _ROOM


def _product(depth: Callable[[Signature], int]) -> Callable[[Signature], float]:
    """Sums of that many products."""

    def largest(s: Signature) -> float:
        if len(s.scales) < 3 or not s.scales[1] or s.dtypes[1] not in _MAGNITUDES:
            return 0.0
        multiplier = max(s.scales[0]) * max(s.scales[1]) / min(s.scales[-1])
        if s.dtypes[0] == "int16" and multiplier >= _LARGEST_OF_64_BITS:
            return _ROOM
        return multiplier * _MAGNITUDES[s.dtypes[0]] * _MAGNITUDES[s.dtypes[1]] * depth(s)

    return largest


def _rounded_product(s: Signature) -> float:
    """FULLY_CONNECTED: reference kernels round doubles to 32 bits; no bias leaves them below 1."""
    if len(s.scales) < 3 or not s.scales[1] or s.dtypes[1] not in _MAGNITUDES:
        return 0.0
    multiplier = max(s.scales[0]) * max(s.scales[1]) / min(s.scales[-1])
    return 0.0 if multiplier < 1 else _ROOM


def _quotient(s: Signature) -> float:
    if len(s.scales) != 3 or not s.scales[1] or min(s.scales[1]) <= 0:
        return _ROOM
    return _MAGNITUDES[s.dtypes[0]] * max(s.scales[0]) / min(s.scales[1]) / min(s.scales[2])


def _total(s: Signature) -> float:
    """A sum of all elements that make one result."""
    return _single(s) * max(1, prod(s.shapes[0]) // max(1, prod(s.output_shape)))


def _power(s: Signature) -> float:
    """REDUCE_PROD: each factor is scaled by ``s_x / s_y^(1 / n)`` in 64 bits."""
    count = max(1, prod(s.shapes[0]) // max(1, prod(s.output_shape)))
    factor = max(s.scales[0]) / min(s.scales[-1]) ** (1 / count)
    return 0.0 if factor < _LARGEST_OF_64_BITS else _ROOM


def _root(s: Signature) -> float:
    return sqrt(max(s.scales[0]) * _MAGNITUDES[s.dtypes[0]]) / min(s.scales[-1])


def _inverse_root(s: Signature) -> float:
    return 1 / (sqrt(min(s.scales[0])) * min(s.scales[-1])) if min(s.scales[0]) > 0 else _ROOM


def _hard_swish(s: Signature) -> float:
    """Shifts of its 16-bit registers by at most 15: not smaller, not larger."""
    scale, output = max(s.scales[0]), min(s.scales[-1])
    return 0.0 if 2.0**-20 <= scale <= 2.0**8 and scale >= output / 2**7 else _ROOM


def _sigmoid(s: Signature) -> float:
    """LOGISTIC and TANH of int16 raise the input scale until it fills a register."""
    return 0.0 if s.dtypes[0] != "int16" or max(s.scales[0]) >= 2.0**-36 else _ROOM


def _softmax(s: Signature) -> float:
    """Its largest result is one."""
    return 1 / min(s.scales[-1]) if max(s.scales[0]) < 2.0**20 else _ROOM


_RULES: dict[str, Callable[[Signature], float]] = {
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _product(lambda _: 1),
    "CONV_2D": _product(lambda s: prod(s.shapes[1][1:])),
    "DEPTHWISE_CONV_2D": _product(lambda s: prod(s.shapes[1][1:3])),
    "FULLY_CONNECTED": _rounded_product,
    "TRANSPOSE_CONV": _product(lambda s: prod(s.shapes[1][1:])),
    "BATCH_MATMUL": _product(lambda s: max((*s.shapes[0][-2:], 1))),
    "DIV": _quotient,
    "SUM": _total,
    "REDUCE_PROD": _power,
    "SQRT": _root,
    "RSQRT": _inverse_root,
    "HARD_SWISH": _hard_swish,
    "LOGISTIC": _sigmoid,
    "TANH": _sigmoid,
    "SOFTMAX": _softmax,
}
