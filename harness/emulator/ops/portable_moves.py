"""Portable kernels that copy elements or make them from numbers; every bit of them is defined."""

from typing import Any

import numpy as np

from harness.emulator.definitions import Call, CannotRun, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.portable_nodes import (
    EXACT,
    SATURATING,
    as_integers,
    axis_of,
    broadcast,
    option,
    portable,
)
from harness.emulator.ops.shape import output_dtype


def _number(call: Call, value: bool | int | float) -> Array:
    """A number as an element of the result."""
    dtype = output_dtype(call.output)
    made = np.asarray(value)
    if dtype.kind in "iu" and (
        not np.isfinite(value) or not np.iinfo(dtype).min <= int(value) <= np.iinfo(dtype).max
    ):
        raise CannotRun(f"{value} is no {call.output.dtype}")
    return made.astype(dtype)


@portable("full", "full_like", "fill", "scalar_tensor")
def fill(call: Call, _size: Array, value: Array | None = None) -> Array:
    """One number everywhere.

    Source: executorch kernels/portable/cpu/op_full.cpp, op_full_like.cpp, op_fill.cpp,
    op_scalar_tensor.cpp.
    """
    number = _number(call, option(call, "value")) if value is None else value
    return np.broadcast_to(number, call.output.shape)


@portable("zeros", "ones", "empty")
def constant(call: Call, _size: Array) -> Array:
    """Zeros or ones; zeros where nothing is said.

    Source: executorch kernels/portable/cpu/op_zeros.cpp, op_ones.cpp, op_empty.cpp.
    """
    return np.full(call.output.shape, int(call.node.op == "aten::ones"), np.int8)


@portable("arange")
def arange(call: Call, _size: Array) -> Array:
    """``start + i step`` in double, then the dtype's.

    Source: executorch kernels/portable/cpu/util/arange_util.cpp, arange_out_impl.
    """
    options = call.node.options
    start, step = float(options.get("start", 0)), float(options.get("step", 1))
    return start + np.arange(*call.output.shape, dtype=np.float64) * step


@portable("select_copy")
def select(call: Call, x: Array) -> Array:
    """One slice, without its dimension."""
    return np.asarray(np.take(x, option(call, "index"), axis_of(call, x)))


def _steps(call: Call, size: int) -> slice:
    """Where a slice lies, as Python has it. Source: executorch …/util/slice_util.cpp."""
    start, end, step = (option(call, name) for name in ("start", "end", "step"))
    if step < 1:
        raise CannotRun(f"a slice by {step}, allowed: 1 or more")
    return slice(*slice(start, end, step).indices(size))


@portable("slice_copy")
def slice_copy(call: Call, x: Array) -> Array:
    """Every few elements along a dimension."""
    axis = axis_of(call, x)
    return x[(slice(None),) * axis + (_steps(call, x.shape[axis]),)]


@portable("narrow_copy")
def narrow(call: Call, x: Array) -> Array:
    """Some slices along a dimension."""
    axis, start = axis_of(call, x), int(option(call, "start"))
    start += x.shape[axis] if start < 0 else 0
    return x[(slice(None),) * axis + (slice(start, start + option(call, "length")),)]


@portable("split_copy", "split_with_sizes_copy", "unbind_copy")
def split(call: Call, x: Array) -> tuple[Array, ...]:
    """Parts along a dimension; unbind leaves it away."""
    axis = axis_of(call, x)
    if call.node.op == "aten::unbind_copy":
        return tuple(np.moveaxis(x, axis, 0))
    sizes = [output.shape[axis] for output in call.outputs]
    if sum(sizes) != x.shape[axis]:
        raise CannotRun(f"parts of {sizes} from {x.shape[axis]}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


@portable("stack")
def stack(call: Call, *arrays: Array) -> Array:
    """Along a new dimension."""
    return np.stack(arrays, int(option(call, "dim")))


@portable("transpose_copy", "t_copy")
def transpose(call: Call, x: Array) -> Array:
    """Two dimensions exchanged."""
    if call.node.op == "aten::t_copy" or not x.ndim:
        return x.T
    return np.swapaxes(x, axis_of(call, x, "first"), axis_of(call, x, "second"))


@portable("unfold_copy")
def unfold(call: Call, x: Array) -> Array:
    """Windows along a dimension, as a new last one."""
    axis, size, step = axis_of(call, x), int(option(call, "size")), int(option(call, "step"))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    return windows[(slice(None),) * axis + (slice(None, None, step),)]


@portable("as_strided_copy")
def as_strided(call: Call, x: Array) -> Array:
    """Elements by their place in memory."""
    place = np.asarray(int(option(call, "offset") or 0))
    for size, stride in zip(option(call, "size"), option(call, "stride"), strict=True):
        place = place[..., np.newaxis] + np.arange(size) * stride
    return np.asarray(x.reshape(-1)[place])


@portable("diagonal_copy")
def diagonal(call: Call, x: Array) -> Array:
    """A diagonal of two dimensions, as the last one."""
    return x.diagonal(option(call, "offset"), axis_of(call, x, "first"), axis_of(call, x, "second"))


@portable("repeat")
def repeat(call: Call, x: Array) -> Array:
    """The whole, several times along each dimension."""
    repeats = option(call, "repeats")
    shape = (1,) * (len(repeats) - x.ndim) + x.shape
    if call.output.shape != tuple(n * r for n, r in zip(shape, repeats, strict=True)):
        raise CannotRun(f"{repeats} times {list(x.shape)}")
    return np.tile(x.reshape(shape), repeats)


@portable("flip", "roll")
def turn(call: Call, x: Array) -> Array:
    """Dimensions reversed, or turned by some places."""
    dims = option(call, "dims")
    if call.node.op == "aten::flip":
        return np.flip(x, dims)
    shifts = option(call, "shifts")
    return np.roll(x, shifts, dims) if dims else np.roll(x, shifts[0])


@portable("pixel_shuffle")
def pixel_shuffle(call: Call, x: Array) -> Array:
    """Blocks of channels become squares of pixels."""
    *rest, channels, height, width = x.shape
    r = int(option(call, "factor"))
    squares = x.reshape(*rest, channels // (r * r), r, r, height, width)
    moved = np.moveaxis(squares, (-4, -3), (-3, -1))
    return moved.reshape(*rest, channels // (r * r), height * r, width * r)


@portable("pixel_unshuffle")
def pixel_unshuffle(call: Call, x: Array) -> Array:
    """Squares of pixels become blocks of channels."""
    *rest, channels, height, width = x.shape
    r = int(option(call, "factor"))
    squares = x.reshape(*rest, channels, height // r, r, width // r, r)
    moved = np.moveaxis(squares, (-3, -1), (-4, -3))
    return moved.reshape(*rest, channels * r * r, height // r, width // r)


@portable("tril")
def lower_triangle(call: Call, x: Array) -> Array:
    """Zeros above a diagonal."""
    return np.tril(x, option(call, "diagonal"))


@portable("cat")
def concatenate(call: Call, *arrays: Array) -> Array:
    """Along a dimension, in the result's dtype; empty vectors count for nothing.

    Source: executorch kernels/portable/cpu/op_cat.cpp.
    """
    parts = [array for array in arrays if array.shape != (0,)]
    if not parts:
        return np.zeros(0, output_dtype(call.output))
    axis = axis_of(call, parts[0])
    return np.concatenate([part.astype(output_dtype(call.output)) for part in parts], axis)


@portable("constant_pad_nd")
def constant_pad(call: Call, x: Array) -> Array:
    """A border of one number; widths below zero cut.

    Source: executorch kernels/portable/cpu/op_constant_pad_nd.cpp.
    """
    flat = option(call, "padding")
    pairs = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    y = np.broadcast_to(_number(call, option(call, "value")), call.output.shape).copy()
    inner: list[slice] = [slice(None)] * (x.ndim - len(pairs))
    outer = list(inner)
    for (before, after), size in zip(pairs, x.shape[x.ndim - len(pairs) :], strict=True):
        inner.append(slice(max(-before, 0), size - max(-after, 0)))
        outer.append(
            slice(max(before, 0), max(before, 0) + max(inner[-1].stop - inner[-1].start, 0))
        )
    y[tuple(outer)] = x[tuple(inner)]
    return y


@portable("copy")
def copy(call: Call, _x: Array, source: Array) -> Array:
    """The second tensor in the first one's shape."""
    return np.broadcast_to(source, call.output.shape)


@portable(*(f"{kind}_pad{rank}d" for kind in ("reflection", "replication") for rank in (1, 2, 3)))
def pad(call: Call, x: Array) -> Array:
    """A border of the elements that lie as far inside, or of the outermost."""
    flat = option(call, "padding")
    pairs = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    mode: Any = "reflect" if "reflection" in call.node.op else "edge"
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if call.output.shape != tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)):
        raise CannotRun(f"a border of {flat} around {list(x.shape)}")
    return np.pad(x, widths, mode)


def _inside(index: Array, size: int) -> Array:
    """Indices from the front; below zero they count from the end."""
    if np.any(index < -size) or np.any(index >= size):
        raise CannotRun(f"an index outside {-size}..{size - 1}")
    return np.asarray(np.where(index < 0, index + size, index))


def _places(x: Array, indices: tuple[Array | None, ...]) -> tuple[Any, ...]:
    """Index tensors as numpy takes them; masks as the places that they hold at."""
    places: list[Any] = []
    for index in indices:
        if index is None:
            places.append(slice(None))
        elif index.dtype.kind == "b":
            places += np.nonzero(index)
        else:
            places.append(_inside(index, x.shape[len(places)]))
    return tuple(places)


@portable("index")
def index_of(_call: Call, x: Array, *indices: Array | None) -> Array:
    """The elements that tensors of indices name. Source: executorch …/cpu/op_index.cpp."""
    return np.asarray(x[_places(x, indices)])


@portable("index_put")
def index_put(call: Call, x: Array, *others: Array | None) -> Array:
    """The elements that tensors of indices name replaced, or added to, in their order.

    Source: executorch kernels/portable/cpu/op_index_put.cpp.
    """
    *indices, values = others
    if values is None:
        raise CannotRun("it has no values")
    y, places = x.copy(), _places(x, tuple(indices))
    if option(call, "accumulate"):
        np.add.at(y, places, values)
    else:
        y[places] = values
    return y


@portable("index_select")
def index_select(call: Call, x: Array, index: Array) -> Array:
    """Slices by index."""
    axis = axis_of(call, x)
    if not x.ndim:
        return x
    return np.take(x, _inside(index.reshape(-1), x.shape[axis]), axis)


@portable("scatter", "scatter_add")
def scatter(call: Call, x: Array, index: Array, source: Array | None = None) -> Array:
    """Elements put, or added, where indices along a dimension say; the later one stays.

    Source: executorch kernels/portable/cpu/op_scatter.cpp, op_scatter_add.cpp.
    """
    axis, y = axis_of(call, x), x.copy()
    if not x.ndim:
        x, y, index = x.reshape(1), y.reshape(1), index.reshape(1)
        source = None if source is None else source.reshape(1)
    values = _number(call, option(call, "value")) if source is None else source
    places: list[Any] = list(np.indices(index.shape, sparse=True))
    places[axis] = _inside(index, x.shape[axis])
    if source is not None:
        values = source[tuple(slice(0, n) for n in index.shape)]
    if call.node.op == "aten::scatter_add":
        np.add.at(y, tuple(places), values)
    else:
        y[tuple(places)] = values
    return y.reshape(call.output.shape)


@portable("select_scatter")
def select_scatter(call: Call, x: Array, source: Array) -> Array:
    """One slice replaced."""
    y, axis = x.copy(), axis_of(call, x)
    y[(slice(None),) * axis + (int(option(call, "index")),)] = source
    return y


@portable("slice_scatter")
def slice_scatter(call: Call, x: Array, source: Array) -> Array:
    """Every few slices replaced."""
    y, axis = x.copy(), axis_of(call, x)
    y[(slice(None),) * axis + (_steps(call, x.shape[axis]),)] = source
    return y


@portable("masked_fill")
def masked_fill(call: Call, x: Array, mask: Array) -> Array:
    """A number where the mask holds."""
    x, mask = broadcast(call, x, mask)
    return np.where(mask, _number(call, option(call, "value")), x)


@portable("masked_scatter")
def masked_scatter(call: Call, x: Array, mask: Array, source: Array) -> Array:
    """Where the mask holds, the source's elements one after the other."""
    x, mask = broadcast(call, x, mask)
    y, whole = (
        np.broadcast_to(x, call.output.shape).copy(),
        np.broadcast_to(mask, call.output.shape),
    )
    count = int(np.count_nonzero(whole))
    if count > source.size:
        raise CannotRun(f"{count} places for {source.size} elements")
    y[whole] = source.reshape(-1)[:count]
    return y


@portable("where")
def where(call: Call, condition: Array, x: Array, other: Array) -> Array:
    """The first value where the condition holds, else the second, in their common dtype."""
    condition, x, other = broadcast(call, condition, x, other)
    dtype = output_dtype(call.output)
    return np.where(condition != 0, x.astype(dtype), other.astype(dtype))


@portable("upsample_nearest2d")
def upsample_nearest(call: Call, x: Array) -> Array:
    """The pixel at ``floor(i s)``, in float32, with the scale s of each dimension.

    Source: executorch kernels/portable/cpu/op_upsample_nearest2d.cpp; util/upsample_util.h,
    nearest_neighbor_compute_source_index.
    """
    rows, columns = (
        np.minimum(
            np.floor(np.arange(made, dtype=np.float32) * scale_of(call, n, size, made)), size - 1
        ).astype(np.int64)
        for n, (size, made) in enumerate(zip(x.shape[2:], call.output.shape[2:], strict=True))
    )
    return x[:, :, rows[:, np.newaxis], columns]


def scale_of(call: Call, number: int, size: int, made: int) -> np.float32:
    """Input pixels for each pixel made: from the scale that is given, else from the sizes.

    Source: executorch kernels/portable/cpu/util/upsample_util.h, compute_scales_value.
    """
    scales = option(call, "scales")
    if scales and scales[number] > 0:
        return np.float32(1.0 / scales[number])
    return np.float32(size) / np.float32(made)


@define(["CAST"], [EXACT, SATURATING])
def bind_cast(call: Call) -> Run:
    """As C casts: integers wrap; floats are cut towards zero (`as_integers`).

    Source: executorch kernels/portable/cpu/op__to_dim_order_copy.cpp, _to_dim_order_copy_impl.
    """
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        if x.dtype.kind != "f" or dtype.kind not in "iu":
            return (x.astype(dtype),)
        return (as_integers(call, x, dtype),)

    return run
