"""ADD as LiteRT's optimized kernels compute it: whole blocks of each run in vectors."""

from collections.abc import Callable

import numpy as np

from harness.arithmetic.fixed_point import (
    Int64,
    doubling_high_mul,
    shift_left_int32,
    to_int64,
    wrap_int16,
    wrap_int32,
)
from harness.arithmetic.requantize import round_s1
from harness.emulator.definitions import Call, NoDefinition, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.add import Shifted, bind_tflite, make_shifted
from harness.emulator.ops.broadcast import walk

Raise = Callable[[Int64, int, Int64, Int64], Int64]
"""From (x - z, k, multiplier, shift) to the input at the common scale."""


def _once(x: Int64, left: int, multiplier: Int64, shift: Int64) -> Int64:
    total = left + shift
    moved = (x << np.maximum(total, 0)) >> np.maximum(-total, 0)
    return doubling_high_mul(wrap_int32(moved), multiplier)


def _floored(x: Int64, left: int, multiplier: Int64, shift: Int64) -> Int64:
    return doubling_high_mul(shift_left_int32(x, to_int64(left)), multiplier) >> -shift


_RAISES: dict[str, Raise] = {
    "shifted-once-blocks-of-16": _once,
    "shifted-floored-blocks-of-8": _floored,
}


def _in_blocks(call: Call, p: Shifted, bring: Raise) -> Run:
    """What a vector computes of every element."""
    wraps = call.output.dtype != "int16"
    limits = np.iinfo(np.int16)

    def run(values: Values) -> tuple[Array]:
        x_1 = to_int64(required(values[0])) - p.zero_points[0]
        x_2 = to_int64(required(values[1])) - p.zero_points[1]
        total = bring(x_1, p.left, *p.first) + bring(x_2, p.left, *p.second)
        y = round_s1(total, *p.output)
        if wraps:
            y = wrap_int16(wrap_int16(y) + p.zero_points[2])
        else:
            y = np.clip(y + p.zero_points[2], limits.min, limits.max)
        return (np.clip(y, *p.clamp).astype(call.output.dtype),)

    return run


@define(["ADD"], ["shifted-once-blocks-of-16"], elementwise=16)
@define(["ADD"], ["shifted-floored-blocks-of-8"], elementwise=8)
def bind_blocks(call: Call) -> Run:
    """Whole blocks of each run (`ops.broadcast`) round the inputs otherwise; the rest is as
    "shifted-S1".

    "once", in blocks of 16: ``(x - z) 2^(k + shift)``, truncated where that is to the right, goes
    into the doubling high product. "floored", in blocks of 8: the doubling high product of
    ``(x - z) 2^k``, shifted right towards minus infinity. Then S1 of the sum; 8-bit outputs add
    their zero point in 16 bits, which wrap.

    Source: LiteRT kernels/internal/optimized/integer_ops/add.h, AddElementwiseInt8,
    AddScalarBroadcast and AddElementwiseInt16 with USE_NEON (on x86 through SSE);
    optimized_ops.h, AddElementwise and AddScalarBroadcast for uint8; gemmlowp
    fixedpoint/fixedpoint_neon.h, RoundingDivideByPOT.
    """
    found = walk(call.input(0).shape, call.input(1).shape)
    if found.kind == "generic":
        raise NoDefinition("its inputs are broadcast along more axes than blocks are made for")
    block = 16 if call.semantics.endswith("16") else 8
    by_element = bind_tflite(call)
    by_block = _in_blocks(call, make_shifted(call), _RAISES[call.semantics])

    def run(values: Values) -> tuple[Array]:
        blocks = by_block(values)[0]
        place = np.arange(blocks.size).reshape(blocks.shape) % found.run
        body = place < found.run // block * block
        return (np.where(body, blocks, by_element(values)[0]),)

    return run
