"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.arithmetic.fixed_point import Int64, round_half_away, to_int64
from harness.arithmetic.float_steps import fused_multiply_add
from harness.emulator.definitions import (
    BY_VALUE,
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
)
from harness.emulator.graph import Array
from harness.emulator.ops.shape import check_size, output_dtype, same_quantization

_Q10 = 1 << 10
_Q11 = 1 << 11


@dataclass(frozen=True, eq=False)
class Taps:
    """Along one axis, for each output position: two input positions and the second one's weight,
    a fraction of the distance or an integer; the first one's weight is what is left to one."""

    first: Int64
    second: Int64
    weight: Array


Rule = Callable[[Call, int, int], Taps]
"""From the node, an input length and an output length to the taps along that axis."""


def _multiply_add(a: Array, b: np.float32, c: np.float32, *, fused: bool) -> Array:
    if fused:
        return fused_multiply_add(a, np.full_like(a, b), np.full_like(a, c))
    return a * b + c


def _corners(call: Call) -> tuple[bool, bool]:
    """The options (align_corners, half_pixel_centers)."""
    options = call.node.options
    found = bool(options.get("align_corners")), bool(options.get("half_pixel_centers"))
    if all(found):
        raise CannotRun("both align_corners and half_pixel_centers")
    return found


def _scale(lengths: tuple[int, int], align: bool) -> np.float32:
    """Input length by output length in float32; of the distances between corners when aligned."""
    length, result = lengths
    corner = 1 if align and result > 1 else 0
    return np.float32(np.float32(length - corner) / np.float32(result - corner))


def _float_taps(call: Call, length: int, result: int) -> Taps:
    """``x = scale * i``, or ``scale * (i + 1/2) - 1/2``, in float32; the inputs around it.

    Source: LiteRT kernels/internal/reference/resize_bilinear.h, ComputeInterpolationValues.
    """
    align, half = _corners(call)
    scale = _scale((length, result), align)
    at = np.arange(result, dtype=np.float32)
    if half:
        fused = call.semantics.endswith("fused")
        x = _multiply_add(at + np.float32(0.5), scale, np.float32(-0.5), fused=fused)
    else:
        x = at * scale
    first = np.maximum(np.floor(x).astype(np.int64), 0)
    second = np.minimum(np.ceil(x).astype(np.int64), length - 1)
    return Taps(first, second, x - first.astype(np.float32))


def _q10_taps(call: Call, length: int, result: int) -> Taps:
    """The same with a scale of 10 fraction bits, in integers.

    Source: LiteRT kernels/internal/reference/resize_bilinear.h, ComputeInterpolationValuesInteger.
    """
    align, half = _corners(call)
    corner = 1 if align and result > 1 else 0
    scale = (_Q10 * (length - corner) + (result - corner) // 2) // (result - corner)
    x = to_int64(np.arange(result)) * scale
    if half:
        x += scale // 2 - _Q10 // 2
    first = np.maximum(_truncated(x), 0)
    second = np.minimum(_truncated(x + _Q10 - 1), length - 1)
    return Taps(first, second, x - _Q10 * first)


def _truncated(x: Int64) -> Int64:
    """``x / 1024``, cut towards zero as C divides."""
    return to_int64(np.sign(x) * (np.abs(x) // _Q10))


def _q11_taps(call: Call, length: int, result: int) -> Taps:
    """The position in float32, held within the input; its fraction rounded to 11 bits.

    Source: XNNPACK src/indirection.c, xnn_indirection_init_resize_bilinear2d_hwc_q11.
    """
    align, half = _corners(call)
    scale = _scale((length, result), align)
    at = np.arange(result, dtype=np.float32)
    if half:
        offset = np.float32(0.5) * scale - np.float32(0.5)
        x = _multiply_add(at, scale, offset, fused=call.semantics.endswith("fused"))
    else:
        x = at * scale
    x = np.clip(x, np.float32(0), np.float32(length - 1))
    first = x.astype(np.int64)
    weight = np.rint((x - first.astype(np.float32)) * np.float32(_Q11))
    return Taps(first, np.minimum(first + 1, length - 1), weight.astype(np.int64))


def _size(call: Call, shape: tuple[int, ...]) -> tuple[int, int]:
    """The wanted height and width."""
    data = call.input(1).data
    if data is None:
        raise NoDefinition("its size is computed, not constant")
    height, width = (int(n) for n in data.reshape(-1))
    if len(shape) != 4 or min(height, width, *shape[1:3]) < 1:
        raise CannotRun(f"resize {list(shape)} to {height} x {width}")
    check_size((shape[0], height, width, shape[3]))
    return height, width


def _resized_shape(call: Call) -> tuple[int, ...]:
    shape = call.input(0).shape
    return (shape[0], *_size(call, shape), shape[3])


_OPS = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
BY_VALUE.update(dict.fromkeys(_OPS, (1,)))
OUTPUT_SHAPES.update(dict.fromkeys(_OPS, _resized_shape))


def _both(call: Call, rule: Rule) -> tuple[Taps, Taps]:
    same_quantization([call.inputs[0], call.output])
    shape = call.input(0).shape
    height, width = _size(call, shape)
    return rule(call, shape[1], height), rule(call, shape[2], width)


def _four(x: Array, rows: Taps, columns: Taps) -> tuple[Array, Array, Array, Array]:
    """The four inputs of each output: top left, top right, bottom left, bottom right."""
    top, bottom = x[:, rows.first], x[:, rows.second]
    return (
        top[:, :, columns.first],
        top[:, :, columns.second],
        bottom[:, :, columns.first],
        bottom[:, :, columns.second],
    )


@define(["RESIZE_BILINEAR"], ["q10"])
def bind_q10(call: Call) -> Run:
    """Weights of 10 bits, one rounding of the 20 fraction bits, ties away from zero.

    Source: LiteRT kernels/internal/reference/resize_bilinear.h, ResizeBilinearInteger.
    """
    rows, columns = _both(call, _q10_taps)
    v, h = rows.weight[:, None, None], columns.weight[:, None]
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        tl, tr, bl, br = _four(to_int64(required(values[0])), rows, columns)
        top, bottom = tl * (_Q10 - h) + tr * h, bl * (_Q10 - h) + br * h
        y = top * (_Q10 - v) + bottom * v
        return ((np.sign(y) * ((np.abs(y) + (1 << 19)) >> 20)).astype(dtype),)

    return run


@define(["RESIZE_BILINEAR"], ["q11", "q11-fused"])
def bind_q11(call: Call) -> Run:
    """Weights of 11 bits, one rounding of the 22 fraction bits, ties up.

    Source: XNNPACK src/s8-ibilinear/scalar.c.in; "fused" where the compiler makes one rounding of a
    product and its sum (aarch64).
    """
    rows, columns = _both(call, _q11_taps)
    v, h = rows.weight[:, None, None], columns.weight[:, None]
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        tl, tr, bl, br = _four(to_int64(required(values[0])), rows, columns)
        top, bottom = (tl << 11) + (tr - tl) * h, (bl << 11) + (br - bl) * h
        y = (top << 11) + (bottom - top) * v
        return (((y + (1 << 21)) >> 22).astype(dtype),)

    return run


def _weighted_sum(terms: Sequence[tuple[Array, Array]], *, fused: bool) -> Array:
    """``a0 b0 + a1 b1 + a2 b2 + a3 b3`` from the left in float32; fused: ``a1 b1`` is rounded, then
    every other product and its sum at once, the first one first."""
    (a, b), (c, d), *rest = terms
    y = fused_multiply_add(a, b, c * d) if fused else a * b + c * d
    for p, q in rest:
        y = fused_multiply_add(p, q, y) if fused else y + p * q
    return y


@define(["RESIZE_BILINEAR"], ["float-by-rows", "float-by-rows-fused"])
def bind_float_by_rows(call: Call) -> Run:
    """``trunc(sum of x * wy * wx + 1/2)`` in float32, each product from the left, in the order top
    left, bottom left, top right, bottom right; "fused" where the compiler rounds a product and its
    sum once (aarch64).

    Source: LiteRT kernels/internal/reference/resize_bilinear.h, ResizeBilinear.
    """
    rows, columns = _both(call, _float_taps)
    v, h = rows.weight[:, None, None], columns.weight[:, None]
    one, fused = np.float32(1), call.semantics.endswith("fused")
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        tl, tr, bl, br = _four(required(values[0]).astype(np.float32), rows, columns)
        terms = [
            (tl * (one - v), one - h),
            (bl * v, one - h),
            (tr * (one - v), h),
            (br * v, h),
        ]
        y = _weighted_sum(terms, fused=fused)
        return ((y + np.float32(0.5)).astype(np.int64).astype(dtype),)

    return run


@define(["RESIZE_BILINEAR"], ["float-by-weights", "float-by-weights-fused"])
def bind_float_by_weights(call: Call) -> Run:
    """``trunc(sum of x * (wy * wx) + 1/2)`` in float32, in the order top left, top right, bottom
    left, bottom right; "fused" where the compiler rounds a product and its sum once (aarch64).

    Source: LiteRT kernels/internal/optimized/resize_bilinear.h, ResizeBilinearGenericSmallChannel;
    ResizeBilinear888Uint8 gives the same, for its weights are exact.
    """
    rows, columns = _both(call, _float_taps)
    v, h = rows.weight[:, None, None], columns.weight[:, None]
    one = np.float32(1)
    weights: list[Array] = [(one - v) * (one - h), (one - v) * h, v * (one - h), v * h]
    fused = call.semantics.endswith("fused")
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        corners = _four(required(values[0]).astype(np.float32), rows, columns)
        y = _weighted_sum(list(zip(corners, weights, strict=True)), fused=fused)
        return ((y + np.float32(0.5)).astype(np.int64).astype(dtype),)

    return run


def _nearest(call: Call, length: int, result: int) -> Int64:
    """``floor((i + offset) * scale)`` in float32, ties away when corners are aligned.

    Source: LiteRT kernels/internal/reference/resize_nearest_neighbor.h, GetNearestNeighbor.
    """
    options = call.node.options
    align, half = bool(options.get("align_corners")), bool(options.get("half_pixel_centers"))
    scale = _scale((length, result), align)
    at = (np.arange(result, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    found = round_half_away(at) if align else np.floor(at)
    nearest = np.minimum(found.astype(np.int64), length - 1)
    return np.maximum(nearest, 0) if half else nearest


def _nearest_q16(call: Call, length: int, result: int) -> Int64:
    """``i * (floor(2^16 length / result) + 1) >> 16``; aligned or half-pixel as `_nearest`.

    Source: LiteRT kernels/internal/optimized/optimized_ops.h, ResizeNearestNeighbor.
    """
    options = call.node.options
    if options.get("align_corners") or options.get("half_pixel_centers"):
        return _nearest(call, length, result)
    scale = (length << 16) // result + 1
    return to_int64(np.minimum((np.arange(result) * scale) >> 16, length - 1))


@define(["RESIZE_NEAREST_NEIGHBOR"], ["nearest", "nearest-q16"])
def bind_nearest(call: Call) -> Run:
    """Each output is one input; runtimes differ in how they choose it."""
    same_quantization([call.inputs[0], call.output])
    shape = call.input(0).shape
    height, width = _size(call, shape)
    rule = _nearest_q16 if call.semantics == "nearest-q16" else _nearest
    rows, columns = rule(call, shape[1], height), rule(call, shape[2], width)
    return lambda values: (required(values[0])[:, rows][:, :, columns],)


@define(["RESIZE_BILINEAR"], ["float"])
def bind_bilinear_float(call: Call) -> Run:
    """Between four neighbours, in float32."""
    if call.input(0).dtype != "float32":
        raise NoDefinition("it is not float32")
    rows, columns = _both(call, _float_taps)
    down, right = rows.weight[:, None, None], columns.weight[None, :, None]

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        top = x[:, rows.first] * (1 - down) + x[:, rows.second] * down
        y = top[:, :, columns.first] * (1 - right) + top[:, :, columns.second] * right
        return (y.astype(np.float32),)

    return run
