"""Ops that pick elements by index and compute none; every runtime agrees on them."""

from collections.abc import Sequence

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
from harness.emulator.ops.shape import MOVE, check_size, integers, same_quantization

Index = int | slice | None


def _axis(axis: int, rank: int) -> int:
    """An axis counted from the front; raises CannotRun when there is none such."""
    if not -rank <= axis < rank:
        raise CannotRun(f"axis {axis} of {rank} dimensions")
    return axis % rank


@define(["SLICE"], [MOVE])
def bind_slice(call: Call) -> Run:
    """A box: begin and size for each axis, size -1 to the end."""
    same_quantization([call.inputs[0], call.output])

    def run(values: Values) -> tuple[Array]:
        x, begin, size = required(values[0]), integers(values, 1), integers(values, 2)
        if len(begin) != x.ndim or len(size) != x.ndim:
            raise CannotRun(f"begin {begin} and size {size} on {x.ndim} dimensions")
        box = []
        for extent, b, s in zip(x.shape, begin, size, strict=True):
            end = extent if s == -1 else b + s
            if not 0 <= b <= end <= extent:
                raise CannotRun(f"slice {b}:{end} of {extent}")
            box.append(slice(b, end))
        return (np.ascontiguousarray(x[tuple(box)]),)

    return run


def _one_index(
    extent: int, b: int, e: int, step: int, *, from_start: bool, to_end: bool, offset: bool
) -> slice:
    """One axis of STRIDED_SLICE without its shrink mask, clamped as Python clamps."""
    if step == 0:
        raise CannotRun("a stride of 0")
    begin = slice(None if from_start else b, None, step).indices(extent)[0]
    if offset:
        e += begin
    end = slice(None, None if to_end else e, step).indices(extent)[1]
    return slice(begin, None if end < 0 else end, step)


def _strided_index(call: Call, x: Array, spec: Sequence[Sequence[int]]) -> tuple[Index, ...]:
    options = call.node.options
    masks = {
        name: int(options.get(f"{name}_mask", 0))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }

    def marked(name: str, position: int) -> bool:
        return bool(masks[name] >> position & 1)

    count = len(spec)
    ellipses = sum(marked("ellipsis", i) for i in range(count))
    added = sum(marked("new_axis", i) and not marked("ellipsis", i) for i in range(count))
    rest = x.ndim - (count - ellipses - added)
    if ellipses > 1 or rest < 0:
        raise CannotRun(f"{count} indices, {ellipses} ellipses on {x.ndim} dimensions")
    if ellipses and not rest:
        raise NoDefinition("its ellipsis stands for no dimension")
    index: list[Index] = []
    axis = 0
    for position, (b, e, step) in enumerate(spec):
        if marked("ellipsis", position):
            index += [slice(None)] * rest
            axis += rest
        elif marked("new_axis", position):
            index.append(None)
        else:
            box = _one_index(
                x.shape[axis],
                b,
                e,
                step,
                from_start=marked("begin", position),
                to_end=marked("end", position),
                offset=bool(options.get("offset", False)),
            )
            index.append(int(box.start) if marked("shrink_axis", position) else box)
            axis += 1
    return tuple(index)


@define(["STRIDED_SLICE"], [MOVE])
def bind_strided_slice(call: Call) -> Run:
    """Begin, end and stride for each axis, with masks; out of range is clamped.

    Where masks meet, ellipsis goes before new axis, and new axis before shrink.

    Source: LiteRT kernels/strided_slice.cc, BuildStridedSliceParams;
    internal/strided_slice_logic.h, StridedSliceStartForAxis and StridedSliceEndForAxis.
    """
    same_quantization([call.inputs[0], call.output])

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        spec = list(zip(*(integers(values, i) for i in (1, 2, 3)), strict=True))
        return (np.array(x[_strided_index(call, x, spec)]),)

    return run


@define(["SPLIT"], [MOVE])
def bind_split(call: Call) -> Run:
    """Equal parts along an axis; the axis is the first input."""
    same_quantization([call.inputs[1], *call.outputs])
    parts = len(call.outputs)

    def run(values: Values) -> tuple[Array, ...]:
        x = required(values[1])
        axis = _axis(integers(values, 0)[0], x.ndim)
        return tuple(np.ascontiguousarray(p) for p in np.split(x, parts, axis))

    return run


@define(["SPLIT_V"], [MOVE])
def bind_split_v(call: Call) -> Run:
    """Parts of given lengths along an axis; one length may be -1: what is left.

    Source: LiteRT kernels/split_v.cc, ResizeOutputTensors.
    """
    same_quantization([call.inputs[0], *call.outputs])

    def run(values: Values) -> tuple[Array, ...]:
        x, lengths = required(values[0]), integers(values, 1)
        axis = _axis(integers(values, 2)[0], x.ndim)
        if lengths.count(-1) == 1:
            lengths[lengths.index(-1)] = x.shape[axis] - (sum(lengths) + 1)
        if len(lengths) != len(call.outputs) or min(lengths) < 0 or sum(lengths) != x.shape[axis]:
            raise CannotRun(f"parts of {lengths} along {x.shape[axis]} elements")
        parts = np.split(x, np.cumsum(lengths[:-1]), axis)
        return tuple(np.ascontiguousarray(p) for p in parts)

    return run


def _checked_indices(indices: Array, limit: int) -> Array:
    if np.any(indices < 0) or np.any(indices >= limit):
        raise CannotRun(f"an index outside 0..{limit - 1}")
    return indices.astype(np.int64)


@define(["GATHER"], [MOVE])
def bind_gather(call: Call) -> Run:
    """Slices along an axis, by index; the first `batch_dims` axes of both run in step.

    Source: LiteRT kernels/gather.cc; internal/reference/gather.h, Gather.
    """
    same_quantization([call.inputs[0], call.output])
    options = call.node.options

    def run(values: Values) -> tuple[Array]:
        x, indices = required(values[0]), required(values[1])
        axis = _axis(int(options.get("axis", 0)), x.ndim)
        batch_dims = int(options.get("batch_dims", 0))
        batch_dims += indices.ndim if batch_dims < 0 else 0
        if not 0 <= batch_dims <= min(axis, indices.ndim):
            raise CannotRun(f"batch_dims {batch_dims} with axis {axis}")
        batches = x.shape[:batch_dims]
        if indices.shape[:batch_dims] != batches:
            raise CannotRun(f"indices of shape {list(indices.shape)} for {list(x.shape)}")
        chosen = _checked_indices(indices, x.shape[axis])
        shape = (*x.shape[:axis], *indices.shape[batch_dims:], *x.shape[axis + 1 :])
        check_size(shape)
        count = int(np.prod(batches, dtype=np.int64))
        rows = x.reshape(count, *x.shape[batch_dims:])
        taken = [
            np.take(row, of_row, axis - batch_dims)
            for row, of_row in zip(
                rows, chosen.reshape(count, *indices.shape[batch_dims:]), strict=True
            )
        ]
        return (np.stack(taken).reshape(shape),)

    return run


@define(["GATHER_ND"], [MOVE])
def bind_gather_nd(call: Call) -> Run:
    """Slices by index vectors, which the last axis of the indices holds.

    Source: LiteRT kernels/gather_nd.cc; internal/reference/reference_ops.h, GatherNd.
    """
    same_quantization([call.inputs[0], call.output])

    def run(values: Values) -> tuple[Array]:
        x, indices = required(values[0]), required(values[1])
        depth = indices.shape[-1]
        if depth > x.ndim:
            raise CannotRun(f"index vectors of {depth} elements for {x.ndim} dimensions")
        check_size((*indices.shape[:-1], *x.shape[depth:]))
        vectors = [_checked_indices(indices[..., i], x.shape[i]) for i in range(depth)]
        return (x[tuple(vectors)],)

    return run


@define(["TILE"], [MOVE])
def bind_tile(call: Call) -> Run:
    """The tensor repeated along each axis."""
    same_quantization([call.inputs[0], call.output])

    def run(values: Values) -> tuple[Array]:
        x, times = required(values[0]), integers(values, 1)
        if len(times) != x.ndim:
            raise CannotRun(f"{times} repetitions of {x.ndim} dimensions")
        shape = check_size([d * t for d, t in zip(x.shape, times, strict=True)])
        # numpy repeats along the other axes before it finds that nothing is left
        return (np.tile(x, times) if 0 not in shape else np.zeros(shape, x.dtype),)

    return run


@define(["BROADCAST_TO"], [MOVE])
def bind_broadcast_to(call: Call) -> Run:
    """Axes of length 1, and axes that are not there, repeated up to a shape."""
    same_quantization([call.inputs[0], call.output])
    return lambda values: (
        np.ascontiguousarray(np.broadcast_to(required(values[0]), check_size(integers(values, 1)))),
    )


@define(["REVERSE_V2"], [MOVE, f"{MOVE}-first-axis"])
def bind_reverse(call: Call) -> Run:
    """The order of elements turned round along some axes; "first-axis": of those the first alone.

    Source: LiteRT kernels/reverse.cc, and the same file of TensorFlow 2.14.
    """
    same_quantization([call.inputs[0], call.output])
    most = None if call.semantics == MOVE else 1

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        axes = tuple({_axis(axis, x.ndim) for axis in integers(values, 1)[:most]})
        return (np.ascontiguousarray(np.flip(x, axes)),)

    return run


@define(["DYNAMIC_UPDATE_SLICE"], [MOVE])
def bind_update(call: Call) -> Run:
    """The first input with a box of it replaced by the second, moved inside where it would stick
    out.

    Source: LiteRT kernels/dynamic_update_slice.cc, ClampStartIndices and DynamicUpdateSlice.
    """
    same_quantization([*call.inputs[:2], call.output])

    def run(values: Values) -> tuple[Array]:
        x, update, begin = required(values[0]), required(values[1]), integers(values, 2)
        fits = x.ndim == update.ndim == len(begin) and x.dtype == update.dtype
        if not fits or any(u > n for u, n in zip(update.shape, x.shape, strict=True)):
            raise CannotRun(f"{list(update.shape)} at {begin} of {list(x.shape)}")
        starts = [
            min(max(0, b), n - u) for b, n, u in zip(begin, x.shape, update.shape, strict=True)
        ]
        y = x.copy()
        y[tuple(slice(b, b + u) for b, u in zip(starts, update.shape, strict=True))] = update
        return (y,)

    return run
