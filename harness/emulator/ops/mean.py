"""MEAN over chosen axes, and SUM where it goes the same way."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.arithmetic.fixed_point import Int64, to_int64, wrap_int32
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.requantize import quantize_multiplier, round_s1, round_s2
from harness.emulator.definitions import (
    BY_VALUE,
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

REDUCTIONS = (
    "MEAN",
    "SUM",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "REDUCE_ANY",
    "REDUCE_ALL",
)

IN_BLOCKS = "images-S2-blocks-of-16"
MOST_THREADS = 64
"""With more than these the cut of the channels has no definition."""

_CHANNELS_A_THREAD = 8


def in_parts(threads: int) -> str:
    """Semantics of `IN_BLOCKS` computed by that many threads."""
    return f"{IN_BLOCKS}-in-{threads}-parts"


@dataclass(frozen=True)
class Reduction:
    """Which axes are reduced, how many elements each result comes from, the result's shape."""

    axes: tuple[int, ...]
    elements: int
    shape: tuple[int, ...]


def make_reduction(call: Call) -> Reduction:
    """The reduction of a node, from its constant second input and its options."""
    shape, axes = call.input(0).shape, call.input(1).data
    if axes is None:
        raise NoDefinition("its axes have no value")
    if any(not -len(shape) <= int(a) < len(shape) for a in axes.reshape(-1)):
        raise CannotRun(f"axes {axes.tolist()} on {len(shape)} dimensions")
    reduced = tuple(sorted({int(a) % len(shape) for a in axes.reshape(-1)}))
    elements = 1
    for axis in reduced:
        elements *= shape[axis]
    keep = bool(call.node.options.get("keep_dims"))
    result = tuple(
        1 if axis in reduced else size
        for axis, size in enumerate(shape)
        if keep or axis not in reduced
    )
    if not elements:
        raise CannotRun(f"a reduction of no elements of {list(shape)}")
    return Reduction(reduced, elements, result)


BY_VALUE.update(dict.fromkeys(REDUCTIONS, (1,)))
OUTPUT_SHAPES.update(dict.fromkeys(REDUCTIONS, lambda call: make_reduction(call).shape))

Finish = Callable[[Int64], Array]
"""From the sums over the reduced axes to the output's integers, element by element."""


def finish_reference(call: Call) -> Finish:
    """S1 with ``1 / n`` folded into the multiplier, the quotient truncated.

    ``multiplier = floor(m * 2^k / n)``, ``k = min(floor(log2 n), 32, 31 + shift)``, where
    (m, shift) stand for ``double(s_x) / double(s_y)``.

    Source: LiteRT kernels/internal/reference/reduce.h, QuantizedMeanOrSum.
    """
    reduction = make_reduction(call)
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    whole, exponent = (int(v) for v in quantize_multiplier(np.asarray(s_x / s_y)))
    fold = min(reduction.elements.bit_length() - 1, 32, 31 + exponent)
    multiplier = to_int64((whole << fold) // reduction.elements)
    shift = to_int64(exponent - fold)
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def finish(total: Int64) -> Array:
        centred = wrap_int32(total - z_x * reduction.elements)
        y = round_s1(centred, multiplier, shift) + z_y
        return np.clip(y, limits.min, limits.max).astype(dtype)

    return finish


def finish_blocks(call: Call) -> Finish:
    """Over height and width of images, dimensions kept: ``S2(sum, t) + b`` in whole blocks of 16
    channels, S1 in the rest; all other reductions as "folded-S1".

    ``t = s_x / (n s_y)`` and ``b = z_y - round(z_x s_x / s_y)``, ties away from zero, in float32.
    Several threads cut the channels into parts first, each with a rest of its own.

    Source: LiteRT kernels/internal/optimized/integer_ops/mean.h and optimized/reduce.h, Mean and
    MeanImpl with USE_NEON (on x86 through SSE).
    """
    reduction = make_reduction(call)
    kept = len(call.input(0).shape) == 4 and call.node.options.get("keep_dims")
    if not kept or reduction.axes != (1, 2):
        return finish_reference(call)
    s_x, z_x = (np.float32(v) for v in scale_and_zero_point(call.input(0)))
    s_y, z_y = scale_and_zero_point(call.output)
    offset = z_x * s_x / np.float32(s_y)
    bias = z_y - int(offset + np.float32(0.5 if offset > 0 else -0.5))
    real = s_x / (np.float32(reduction.elements) * np.float32(s_y))
    multiplier, shift = quantize_multiplier(np.asarray(real))
    threads = 1 if call.semantics == IN_BLOCKS else int(call.semantics.split("-")[-2])
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def finish(total: Int64) -> Array:
        body = _whole_blocks(total.shape[-1], threads)
        rest = round_s1(total, multiplier, shift)
        y = np.where(body, round_s2(total, multiplier, shift), rest) + bias
        return np.asarray(np.clip(y, limits.min, limits.max).astype(dtype))

    return finish


def _whole_blocks(channels: int, threads: int) -> Array:
    """Which channels lie in whole blocks of 16 of their thread's part; a thread has at least 8.

    Source: LiteRT kernels/internal/optimized/integer_ops/mean.h and optimized/reduce.h, Mean.
    """
    body = np.zeros(channels, np.bool_)
    start, workers = 0, max(1, min(threads, channels // _CHANNELS_A_THREAD))
    for worker in range(workers):
        length = (channels - start) // (workers - worker)
        body[start : start + length // 16 * 16] = True
        start += length
    return body


def _multiply_then_add(a: Array, b: Array, c: Array) -> Array:
    return a * b + c


def finish_xnnpack(call: Call) -> Finish:
    """``rint(sum * t + (z_y - n z_x t))`` in float32, ``t = (s_x / s_y) * (1 / n)``, or of a SUM
    ``t = s_x / s_y``.

    Every operation rounds to float32, in the order written; "fused" where the compiler makes one
    rounding of a product and its sum (LiteRT on aarch64).

    Source: XNNPACK src/operators/reduce-nd.c, reshape_reduce_nd;
    src/reference/unary-elementwise.cc, unary_ukernel_quantized_output.
    """
    reduction = make_reduction(call)
    s_x, z_x = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    z_y_float = np.float32(z_y)
    share = reduction.elements if call.node.op == "MEAN" else 1
    per_element = np.float32(1) / np.float32(share)
    scale = np.float32(s_x) / np.float32(s_y) * per_element
    multiply_add = fused_multiply_add if "fused" in call.semantics else _multiply_then_add
    shifted = np.float32(reduction.elements) * np.float32(z_x)
    offset = multiply_add(-np.atleast_1d(shifted), np.atleast_1d(scale), np.atleast_1d(z_y_float))
    dtype = numpy_dtype(call.output)
    limits = np.iinfo(dtype)

    def finish(total: Int64) -> Array:
        real = multiply_add(total.astype(np.float32), np.atleast_1d(scale), offset)
        y = np.rint(real)
        return np.asarray(np.clip(y, limits.min, limits.max).astype(dtype))

    return finish


FINISHES: dict[str, Callable[[Call], Finish]] = {
    "folded-S1": finish_reference,
    IN_BLOCKS: finish_blocks,
    **{in_parts(threads): finish_blocks for threads in range(2, MOST_THREADS + 1)},
    "xnnpack": finish_xnnpack,
    "xnnpack-fused": finish_xnnpack,
}


@define(["SUM"], ["xnnpack", "xnnpack-fused"])
@define(["MEAN"], list(FINISHES))
def bind_sums(call: Call) -> Run:
    """The exact sum over the reduced axes, and what the runtime makes of it."""
    reduction, finish = make_reduction(call), FINISHES[call.semantics](call)

    def run(values: Values) -> tuple[Array]:
        total = required(values[0]).sum(axis=reduction.axes, dtype=np.int64)
        return (finish(total).reshape(reduction.shape),)

    return run


@define(["MEAN"], ["float"])
def bind_float(call: Call) -> Run:
    """The mean in float32."""
    reduction = make_reduction(call)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        return (x.mean(axis=reduction.axes, dtype=x.dtype).reshape(reduction.shape),)

    return run
