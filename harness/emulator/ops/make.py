"""Ops that make values of others' shapes or types: CAST, FILL, ZEROS_LIKE, RANGE, ONE_HOT; and
EMBEDDING_LOOKUP, which copies rows."""

import math

import numpy as np

from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
)
from harness.emulator.graph import Array
from harness.emulator.ops.shape import MOVE, check_size, integer_limits, integers, output_dtype


@define(["CAST"], ["cast"])
def bind_cast(call: Call) -> Run:
    """As C casts: integers wrap, floats are cut towards zero; out of range they become the nearest
    integer there is, and NaN the largest.

    Source: LiteRT kernels/cast.cc, CastValue and SaturatingCastFloatingToInteger.
    """
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        if x.dtype.kind != "f" or dtype.kind not in "iu":
            return (x.astype(dtype),)
        lowest, highest = integer_limits(call.output)
        whole = np.trunc(x.astype(np.float64))
        inside = (whole > lowest) & (whole < highest)
        y = np.where(inside, whole, 0).astype(dtype)
        y = np.where(whole <= lowest, dtype.type(lowest), y)
        return (np.where((whole >= highest) | np.isnan(x), dtype.type(highest), y),)

    return run


@define(["FILL"], [MOVE])
def bind_fill(_call: Call) -> Run:
    """A tensor of one value."""

    def run(values: Values) -> tuple[Array]:
        value = required(values[1]).reshape(-1)
        if len(value) != 1:
            raise CannotRun(f"{len(value)} values to fill with, allowed: 1")
        return (np.full(check_size(integers(values, 0)), value[0], value.dtype),)

    return run


@define(["ZEROS_LIKE"], [MOVE])
def bind_zeros(_call: Call) -> Run:
    """Zeros in the input's shape."""
    return lambda values: (np.zeros_like(required(values[0])),)


@define(["RANGE"], [MOVE])
def bind_range(call: Call) -> Run:
    """Start, start + delta, … before the limit; floats by repeated addition in float32.

    Source: LiteRT kernels/range.cc, GetSize and CalculateRange.
    """
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        start, limit, delta = (required(values[i]).reshape(-1)[0] for i in (0, 1, 2))
        if delta == 0 or (limit != start and (limit > start) != (delta > 0)):
            raise CannotRun(f"a range from {start} to {limit} by {delta}")
        if dtype.kind == "f":
            count = math.ceil(abs((limit - start) / delta))
        else:
            count = -(-abs(int(limit) - int(start)) // abs(int(delta)))
        check_size([count])
        steps = np.full(count, delta, dtype)
        steps[:1] = start
        return (np.add.accumulate(steps, dtype=dtype),)

    return run


@define(["ONE_HOT"], [MOVE])
def bind_one_hot(call: Call) -> Run:
    """Along a new axis: the third input where the position is the index, else the fourth.

    Source: LiteRT kernels/one_hot.cc, OneHotComputeImpl.
    """
    axis = int(call.node.options.get("axis", -1))

    def run(values: Values) -> tuple[Array]:
        indices, depth = required(values[0]), integers(values, 1)[0]
        on, off = (required(values[i]).reshape(-1)[0] for i in (2, 3))
        if not -1 <= axis <= indices.ndim:
            raise CannotRun(f"axis {axis} of {indices.ndim + 1} dimensions")
        check_size((*indices.shape, depth))
        positions = np.arange(depth).reshape(-1, *[1] * (indices.ndim - axis if axis >= 0 else 0))
        hot = np.expand_dims(indices, axis) == positions
        return (np.where(hot, on, off).astype(on.dtype),)

    return run


@define(["EMBEDDING_LOOKUP"], [MOVE])
def bind_embedding_lookup(call: Call) -> Run:
    """Rows of the second input, by index.

    Source: LiteRT kernels/embedding_lookup.cc, EvalSimple.
    """
    if call.input(1).dtype != call.output.dtype:
        raise NoDefinition("its rows are dequantized")
    if not call.input(1).shape:
        raise CannotRun("its table has no rows")

    def run(values: Values) -> tuple[Array]:
        indices, rows = required(values[0]), required(values[1])
        if np.any(indices < 0) or np.any(indices >= len(rows)):
            raise CannotRun(f"an index outside 0..{len(rows) - 1}")
        return (rows[indices.reshape(-1)],)

    return run
