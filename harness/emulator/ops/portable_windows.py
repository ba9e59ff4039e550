"""Portable kernels of sums of products, windows, images and normalization: floats, but for the
largest of a window."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.emulator.definitions import Call, CannotRun, NoDefinition
from harness.emulator.graph import Array
from harness.emulator.ops.portable_moves import scale_of
from harness.emulator.ops.portable_nodes import option, portable
from harness.emulator.ops.shape import check_size


@portable("mm", "bmm", "addmm")
def product(call: Call, *tensors: Array) -> Array:
    """A product of matrices, and a bias. Source: executorch …/cpu/op_mm.cpp, op_addmm.cpp."""
    if call.node.op != "aten::addmm":
        return tensors[0] @ tensors[1]
    bias, x, other = tensors
    return np.asarray(x @ other * option(call, "alpha") + bias * option(call, "beta"))


def _each(call: Call, name: str, rank: int, default: int) -> list[int]:
    """A parameter of a window for each dimension; one stands for all."""
    found = list(option(call, name)) or [default]
    made = found * rank if len(found) == 1 else found
    if len(made) != rank:
        raise CannotRun(f"{name} {found} for {rank} dimensions")
    return made


def _windows(
    x: Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """Windows of the last dimensions, as new last ones."""
    if min((*window, *stride, *dilation), default=1) < 1:
        raise CannotRun(f"a window {list(window)} by {list(stride)}, dilated {list(dilation)}")
    rank = len(window)
    spread = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, spread, tuple(range(-rank, 0)))
    steps: list[Any] = [slice(None, None, s) for s in (*stride, *dilation)]
    return np.asarray(seen[(..., *steps)])


def _bordered(x: Array, before: Sequence[int], after: Sequence[int], fill: float | int) -> Array:
    """A border around the last dimensions; negative widths cut."""
    rank = len(before)
    widths = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    check_size([n + sum(w) for n, w in zip(x.shape[-rank:], widths, strict=True)])
    wide = np.pad(x, [(0, 0)] * (x.ndim - rank) + widths, constant_values=fill)
    cut: list[Any] = [
        slice(max(-b, 0), wide.shape[n - rank] - max(-a, 0))
        for n, (b, a) in enumerate(zip(before, after, strict=True))
    ]
    return wide[(..., *cut)]


@portable("convolution")
def convolution(call: Call, x: Array, weight: Array, bias: Array | None) -> Array:
    """Of any rank, forward or transposed, in groups.

    Source: executorch kernels/portable/cpu/op_convolution.cpp.
    """
    rank, groups = weight.ndim - 2, int(option(call, "groups"))
    stride, dilation = (_each(call, name, rank, 1) for name in ("stride", "dilation"))
    padding = _each(call, "padding", rank, 0)
    if rank < 1 or x.ndim != rank + 2 or groups < 1 or x.shape[1] % groups:
        raise CannotRun(f"{list(x.shape)} with {list(weight.shape)} in {groups} groups")
    window = weight.shape[2:]
    if option(call, "transposed"):
        reach = [(w - 1) * d for w, d in zip(window, dilation, strict=True)]
        extra = _each(call, "output_padding", rank, 0)
        x = _spread(x, stride)
        before = [r - p for r, p in zip(reach, padding, strict=True)]
        x = _bordered(x, before, [b + e for b, e in zip(before, extra, strict=True)], 0)
        weight = _turned(weight, groups)
        stride = [1] * rank
    else:
        x = _bordered(x, padding, padding, 0)
    seen = _windows(x, window, stride, dilation)
    parts = [
        np.tensordot(part, kernel, ([1, *range(-rank, 0)], [1, *range(2, rank + 2)]))
        for part, kernel in zip(np.split(seen, groups, 1), np.split(weight, groups, 0), strict=True)
    ]
    y = np.moveaxis(np.concatenate(parts, -1), -1, 1)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _spread(x: Array, stride: Sequence[int]) -> Array:
    """Zeros between the elements of the last dimensions."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    made = np.zeros(check_size((*x.shape[:2], *sizes)), x.dtype)
    steps: list[Any] = [slice(None, None, s) for s in stride]
    made[(..., *steps)] = x
    return made


def _turned(weight: Array, groups: int) -> Array:
    """A transposed convolution's weights (inputs, outputs of a group, …) as a convolution's."""
    inputs, outputs, *window = weight.shape
    parts = weight.reshape(groups, inputs // groups, outputs, *window).swapaxes(1, 2)
    return np.flip(
        parts.reshape(groups * outputs, inputs // groups, *window), tuple(range(2, weight.ndim))
    )


def _pooling(call: Call, x: Array, fill: float | int, dilation: Sequence[int]) -> Array:
    """Windows of an image, over its border too; where the last one reaches beyond, so far."""
    window = _each(call, "window", 2, 1)
    stride = _each(call, "stride", 2, 1) if option(call, "stride") else window
    padding = _each(call, "padding", 2, 0)
    after = [
        max((made - 1) * s + (w - 1) * d + 1 - n - p, p)
        for made, s, w, d, n, p in zip(
            call.output.shape[-2:], stride, window, dilation, x.shape[-2:], padding, strict=True
        )
    ]
    seen = _windows(_bordered(x, padding, after, fill), window, stride, dilation)
    height, width = call.output.shape[-2:]
    return seen[..., :height, :width, :, :]


@portable("avg_pool2d")
def average_pool(call: Call, x: Array) -> Array:
    """Means of windows; whether the border counts is a parameter, what lies beyond it never does.

    Source: executorch kernels/portable/cpu/op_avg_pool2d.cpp; util/kernel_ops_util.h,
    kernel_reduction_then_map_2d.
    """
    total = _pooling(call, x, 0, (1, 1)).sum(axis=(-2, -1), dtype=x.dtype)
    if option(call, "divisor") is not None:
        return np.asarray(total / option(call, "divisor"))
    counted = np.ones(x.shape[-2:], np.int64)
    if option(call, "count_padding"):
        padding = _each(call, "padding", 2, 0)
        counted = np.pad(counted, [(p, p) for p in padding], constant_values=1)
        count = _pooling_of_border(call, counted)
    else:
        count = _pooling(call, counted, 0, (1, 1)).sum(axis=(-2, -1))
    return np.asarray(total / count.astype(x.dtype))


def _pooling_of_border(call: Call, counted: Array) -> Array:
    """How many elements of a map, border included, each window covers."""
    window = _each(call, "window", 2, 1)
    stride = _each(call, "stride", 2, 1) if option(call, "stride") else window
    after = [
        max((made - 1) * s + w - n, 0)
        for made, s, w, n in zip(call.output.shape[-2:], stride, window, counted.shape, strict=True)
    ]
    seen = _windows(_bordered(counted, (0, 0), after, 0), window, stride, (1, 1))
    height, width = call.output.shape[-2:]
    return np.asarray(seen[:height, :width].sum(axis=(-2, -1)))


@portable("_adaptive_avg_pool2d")
def adaptive_average_pool(call: Call, x: Array) -> Array:
    """Means of the parts that a map is cut into.

    Source: executorch kernels/portable/cpu/op__adaptive_avg_pool2d.cpp.
    """
    height, width = call.output.shape[-2:]
    rows, columns = (
        [(i * n // made, -(-(i + 1) * n // made)) for i in range(made)]
        for n, made in zip(x.shape[-2:], (height, width), strict=True)
    )
    means = [
        x[..., top:bottom, left:right].mean(axis=(-2, -1), dtype=np.float32)
        for top, bottom in rows
        for left, right in columns
    ]
    return np.stack(means, -1).reshape(call.output.shape)


@portable("max_pool2d_with_indices")
def max_pool(call: Call, x: Array) -> tuple[Array, Array]:
    """The largest of each window, and its place in the map, the first of equal ones. NaN is it only
    where the window begins with it.

    Source: executorch kernels/portable/cpu/op_max_pool2d_with_indices.cpp; util/kernel_ops_util.h.
    """
    dilation = _each(call, "dilation", 2, 1)
    places = np.arange(math.prod(x.shape[-2:]), dtype=np.int64).reshape(x.shape[-2:])
    seen = _pooling(call, x, 0, dilation)
    where = np.broadcast_to(_pooling(call, places, -1, dilation), seen.shape)
    where, values = (array.reshape(*seen.shape[:-2], -1) for array in (where, seen))
    begins = np.argmax(where >= 0, -1)[..., np.newaxis]
    lowest = np.asarray(-np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min, x.dtype)
    inside = np.where((where < 0) | np.isnan(values), lowest, values)
    largest = np.argmax(inside, -1)[..., np.newaxis]
    nothing_above = np.take_along_axis(where, largest, -1) < 0
    stays = nothing_above | np.isnan(np.take_along_axis(values, begins, -1))
    chosen = np.where(stays, begins, largest)
    return (
        np.take_along_axis(values, chosen, -1)[..., 0],
        np.take_along_axis(where, chosen, -1)[..., 0],
    )


@portable("upsample_bilinear2d")
def upsample_bilinear(call: Call, x: Array) -> Array:
    """Between four pixels. Source: executorch kernels/portable/cpu/op_upsample_bilinear2d.cpp."""
    y = x.astype(np.float32)
    for n, axis in enumerate((-2, -1)):
        size, made = x.shape[axis], call.output.shape[axis]
        to = np.arange(made, dtype=np.float32)
        if option(call, "align_corners"):
            source = to * np.float32((size - 1) / (made - 1) if made > 1 else 0)
        else:
            half = np.float32(0.5)
            source = np.maximum(scale_of(call, n, size, made) * (to + half) - half, 0)
        low = np.minimum(np.floor(source).astype(np.int64), size - 1)
        part = np.clip(source - low, 0, 1).astype(np.float32)
        part = part[:, np.newaxis] if axis == -2 else part
        high = np.minimum(low + 1, size - 1)
        y = np.take(y, low, axis) * (1 - part) + np.take(y, high, axis) * part
    return y


_BILINEAR, _NEAREST = 0, 1
_ZEROS, _BORDER = 0, 1


@portable("grid_sampler_2d")
def grid_sample(call: Call, x: Array, grid: Array) -> Array:
    """Pixels, or means of four, at places between -1 and 1.

    Source: executorch kernels/portable/cpu/op_grid_sampler_2d.cpp; util/grid_sampler_2d_util.h.
    """
    mode = option(call, "mode")
    if mode not in {_BILINEAR, _NEAREST}:
        raise NoDefinition("its interpolation is bicubic")
    columns, rows = (
        _source_index(call, grid[..., n], x.shape[3 - n]).astype(np.float32) for n in (0, 1)
    )
    if mode == _NEAREST:
        return _picked(call, x, np.rint(rows), np.rint(columns))
    top, left = np.floor(rows), np.floor(columns)
    y: Any = np.float32(0)
    for below in (0, 1):
        for right in (0, 1):
            share = (rows - top if below else top + 1 - rows) * (
                columns - left if right else left + 1 - columns
            )
            y = y + _picked(call, x, top + below, left + right) * share[:, np.newaxis]
    return np.asarray(y)


def _source_index(call: Call, at: Array, size: int) -> Array:
    """Pixels for coordinates between -1 and 1, back inside as the kind of border says."""
    corners = option(call, "align_corners")
    place = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
    if option(call, "padding") == _ZEROS:
        return place
    if option(call, "padding") != _BORDER:
        low, high = (0, 2 * (size - 1)) if corners else (-1, 2 * size - 1)
        if low == high:
            return np.zeros_like(place)
        span = (high - low) / 2
        away = np.abs(place - low / 2)
        rest, flips = np.fmod(away, span), np.floor(away / span)
        place = np.where(flips % 2 == 0, rest + low / 2, span - rest + low / 2)
    return np.clip(place, 0, size - 1)


def _picked(call: Call, x: Array, rows: Array, columns: Array) -> Array:
    """Pixels at whole places (batch, height, width); outside they are 0, or the nearest."""
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    r, c = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    r, c = (np.nan_to_num(place).astype(np.int64) for place in (r, c))
    found = np.moveaxis(x[np.arange(len(x))[:, np.newaxis, np.newaxis], :, r, c], -1, 1)
    if option(call, "padding") != _ZEROS:
        return found
    return np.where(inside[:, np.newaxis], found, np.asarray(0, x.dtype))


def _scaled(x: Array, weight: Array | None, bias: Array | None) -> Array:
    """Times a weight and with a bias for each channel, the second dimension."""
    shape = (-1, *[1] * (x.ndim - 2))
    y = x if weight is None else x * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


@portable("native_group_norm")
def group_norm(
    call: Call, x: Array, weight: Array | None, bias: Array | None
) -> tuple[Array, Array, Array]:
    """Groups of channels with their mean taken away, by their deviation; both of them too.

    Source: executorch kernels/portable/cpu/op_native_group_norm.cpp.
    """
    count, groups = int(option(call, "n")), int(option(call, "groups"))
    rows = x.astype(np.float64).reshape(count, groups, -1)
    mean = rows.mean(axis=-1, keepdims=True)
    factor = 1 / np.sqrt(np.square(rows - mean).mean(axis=-1, keepdims=True) + option(call, "eps"))
    y = _scaled(((rows - mean) * factor).reshape(x.shape), weight, bias)
    return y, mean[..., 0], factor[..., 0]


@portable("_native_batch_norm_legit_no_training")
def batch_norm(
    call: Call, x: Array, weight: Array | None, bias: Array | None, *statistics: Array
) -> tuple[Array, Array, Array]:
    """Channels with given means and variances; two empty results.

    Source: executorch kernels/portable/cpu/op_native_batch_norm.cpp.
    """
    mean, var = statistics
    shape = (-1, *[1] * (x.ndim - 2))
    factor = 1 / np.sqrt(var + np.asarray(option(call, "eps"), var.dtype))
    y = (x - mean.reshape(shape)) * factor.reshape(shape)
    none = np.zeros(0, x.dtype)
    return _scaled(y, weight, bias), none, none


@portable("_native_batch_norm_legit")
def batch_norm_of_batch(
    call: Call, x: Array, weight: Array | None, bias: Array | None
) -> tuple[Array, Array, Array]:
    """Channels with the batch's own means and variances; and means and factors.

    Source: executorch kernels/portable/cpu/op_native_batch_norm.cpp,
    _native_batch_norm_legit_no_stats_out.
    """
    over = (0, *range(2, x.ndim))
    mean = x.mean(axis=over, keepdims=True, dtype=np.float32)
    var = np.square(x - mean).mean(axis=over, keepdims=True, dtype=np.float32)
    factor = 1 / np.sqrt(var + np.float32(option(call, "eps")))
    return _scaled((x - mean) * factor, weight, bias), mean.reshape(-1), factor.reshape(-1)


@portable("_cdist_forward")
def distances(call: Call, x: Array, other: Array) -> Array:
    """Between all rows of two tensors. Source: executorch …/cpu/op_cdist_forward.cpp."""
    p = option(call, "p")
    check_size((*call.output.shape, x.shape[-1]))
    apart = np.abs(x[..., :, np.newaxis, :] - other[..., np.newaxis, :, :])
    if p == 0:
        return np.asarray((apart != 0).sum(axis=-1))
    return np.asarray(apart.max(axis=-1) if np.isinf(p) else (apart**p).sum(axis=-1) ** (1 / p))
