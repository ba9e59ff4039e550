"""Draws of single-op models that move values and compute none."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.oracle.build import Builder, options
from tests.oracle.models import Draw, Model, enum, model

CHANNELS = (1, 3, 5, 8, 15, 16, 17, 33)
_QUANTIZED = ("int8", "uint8", "int16")
_PLAIN = ("int32", "int64", "float32", "bool")

Rng = np.random.Generator
Move = Callable[[Rng, int, str], Model]


def pick(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def any_shape(rng: Rng, lowest: int = 1, highest: int = 4) -> tuple[int, ...]:
    rank = int(rng.integers(lowest, highest + 1))
    return (*(int(n) for n in rng.integers(1, 6, rank - 1)), pick(rng, CHANNELS))


def single(
    op: str,
    seed: int,
    dtype: str,
    shapes: Sequence[Sequence[int]],
    results: Sequence[Sequence[int]],
    *,
    constants: Sequence[tuple[Any, str]] = (),
    constants_first: bool = False,
    made: Any = None,
    version: int = 1,
    result_dtype: str = "",
) -> Model:
    """One op of tensors that share their parameters, and of integer constants behind or before."""
    draw, builder = Draw(seed, "random"), Builder()
    q = draw.quant(dtype)
    inputs = [builder.tensor(shape, dtype, q) for shape in shapes]
    kind = result_dtype or dtype
    q_out = q if kind == dtype else None
    outputs = [builder.tensor(shape, kind, q_out) for shape in results]
    fixed = [
        builder.constant(values, own, q if own in _QUANTIZED and own == dtype else None)
        for values, own in constants
    ]
    everything = [*fixed, *inputs] if constants_first else [*inputs, *fixed]
    builder.op(op, everything, outputs, made, version=version)
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shapes[0]))}-{seed}"
    return model(name, builder, inputs, outputs)


def _squeeze(rng: Rng, seed: int, dtype: str) -> Model:
    shape = (1, *any_shape(rng, 1, 2), 1, 3)
    axes = pick(rng, ((), (0,), (0, -2), (-2,)))
    gone = {a % len(shape) for a in axes} or {i for i, n in enumerate(shape) if n == 1}
    result = [n for i, n in enumerate(shape) if i not in gone]
    made = options("Squeeze", squeezeDims=list(axes))
    return single("SQUEEZE", seed, dtype, [shape], [result], made=made)


def _expand_dims(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    result = np.expand_dims(np.empty(shape), axis).shape
    return single("EXPAND_DIMS", seed, dtype, [shape], [result], constants=[([axis], "int32")])


def _transpose(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng, 2, 5)
    order = [int(n) for n in rng.permutation(len(shape))]
    result = [shape[i] for i in order]
    return single("TRANSPOSE", seed, dtype, [shape], [result], constants=[(order, "int32")])


def _slice(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    begin = [int(rng.integers(n)) for n in shape]
    size = [int(rng.integers(1, n - b + 1)) for n, b in zip(shape, begin, strict=True)]
    asked = [
        -1 if b + s == n and rng.integers(2) else s
        for n, b, s in zip(shape, begin, size, strict=True)
    ]
    kind = pick(rng, ("int32", "int64"))
    return single("SLICE", seed, dtype, [shape], [size], constants=[(begin, kind), (asked, kind)])


def _random_index(rng: Rng, n: int) -> tuple[int, int, int]:
    """Begin, end and stride along an axis of n elements, with something between; may lie outside
    and count from the end."""
    while True:
        begin, end = (int(k) for k in rng.integers(-n - 2, n + 3, 2))
        step = int(pick(rng, (1, 1, 1, 2, 3, -1, -2)))
        if len(range(n)[begin:end:step]):
            return begin, end, step


def _plain_strided_slice(rng: Rng, seed: int, dtype: str) -> Model:
    """Of stride 1 with an index for each axis: what XNNPACK takes."""
    shape = any_shape(rng)
    begin = [int(rng.integers(n)) for n in shape]
    end = [int(rng.integers(b + 1, n + 1)) for b, n in zip(begin, shape, strict=True)]
    result = [e - b for b, e in zip(begin, end, strict=True)]
    if rng.integers(2):
        begin = [b - n for b, n in zip(begin, shape, strict=True)]
    constants = [(begin, "int32"), (end, "int32"), ([1] * len(shape), "int32")]
    made = options("StridedSlice")
    return single("STRIDED_SLICE", seed, dtype, [shape], [result], constants=constants, made=made)


def _strided_slice(rng: Rng, seed: int, dtype: str) -> Model:
    """All masks: what they give is what Python's own indexing gives."""
    if rng.integers(3) == 0:
        return _plain_strided_slice(rng, seed, dtype)
    shape = any_shape(rng, 1, 4)
    masks = dict.fromkeys(("begin", "end", "ellipsis", "newAxis", "shrinkAxis"), 0)
    spec: list[tuple[int, int, int]] = []
    index: list[Any] = []
    count = int(rng.integers(1, len(shape) + 1))
    ellipsis = int(rng.integers(count)) if count < len(shape) and rng.integers(2) else -1
    axis = 0
    for position in range(count):
        bit = 1 << len(spec)
        if position == ellipsis:
            masks["ellipsis"] |= bit
            spec.append((0, 0, 1))
            index.append(...)
            axis += len(shape) - count + 1
            continue
        if rng.integers(4) == 0:
            masks["newAxis"] |= bit
            spec.append((0, 0, 1))
            index.append(None)
            bit <<= 1
        begin, end, step = _random_index(rng, shape[axis])
        if rng.integers(4) == 0:
            begin, step = int(rng.integers(-shape[axis], shape[axis])), 1
            masks["shrinkAxis"] |= bit
            index.append(begin)
        else:
            from_start, to_end = (bool(rng.integers(3) == 0) for _ in range(2))
            masks["begin"] |= bit * from_start
            masks["end"] |= bit * to_end
            index.append(slice(None if from_start else begin, None if to_end else end, step))
        spec.append((begin, end, step))
        axis += 1
    result = np.empty(shape, np.int8)[tuple(index)].shape
    if 0 in result:
        return _strided_slice(rng, seed, dtype)
    made = options("StridedSlice", **{f"{name}Mask": mask for name, mask in masks.items()})
    columns = [(list(column), "int32") for column in zip(*spec, strict=True)]
    return single("STRIDED_SLICE", seed, dtype, [shape], [result], constants=columns, made=made)


def _split(rng: Rng, seed: int, dtype: str) -> Model:
    parts, shape = pick(rng, (1, 2, 3, 5)), list(any_shape(rng))
    axis = int(rng.integers(-len(shape), len(shape)))
    result = list(shape)
    shape[axis] = result[axis] * parts
    return single(
        "SPLIT",
        seed,
        dtype,
        [shape],
        [result] * parts,
        constants=[(axis, "int32")],
        constants_first=True,
        made=options("Split", numSplits=parts),
    )


def _split_v(rng: Rng, seed: int, dtype: str) -> Model:
    lengths = [int(n) for n in rng.integers(1, 5, pick(rng, (1, 2, 3)))]
    shape = list(any_shape(rng))
    axis = int(rng.integers(-len(shape), len(shape)))
    shape[axis] = sum(lengths)
    results = [[n if i != axis % len(shape) else k for i, n in enumerate(shape)] for k in lengths]
    if rng.integers(2):
        lengths[-1] = -1
    return single(
        "SPLIT_V",
        seed,
        dtype,
        [shape],
        results,
        constants=[(lengths, "int32"), (axis, "int32")],
        made=options("SplitV", numSplits=len(lengths)),
    )


def _pack(rng: Rng, seed: int, dtype: str) -> Model:
    shape, count = any_shape(rng, 1, 3), pick(rng, (1, 2, 3))
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    result = np.stack([np.empty(shape)] * count, axis).shape
    made = options("Pack", valuesCount=count, axis=axis)
    return single("PACK", seed, dtype, [shape] * count, [result], made=made)


def _unpack(rng: Rng, seed: int, dtype: str) -> Model:
    shape = list(any_shape(rng, 1, 4))
    axis = int(rng.integers(-len(shape), len(shape)))
    shape[axis] = count = pick(rng, (1, 2, 3))
    result = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    made = options("Unpack", num=count, axis=axis)
    return single("UNPACK", seed, dtype, [shape], [result] * count, made=made)


def _gather(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    axis = int(rng.integers(len(shape)))
    batch = int(rng.integers(axis + 1))
    index_shape = (*shape[:batch], *any_shape(rng, 1, 2)[-2:])
    indices = rng.integers(0, shape[axis], index_shape)
    result = (*shape[:axis], *index_shape[batch:], *shape[axis + 1 :])
    return single(
        "GATHER",
        seed,
        dtype,
        [shape],
        [result],
        constants=[(indices, pick(rng, ("int32", "int64")))],
        made=options("Gather", axis=pick(rng, (axis, axis - len(shape))), batchDims=batch),
    )


def _gather_nd(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    depth = int(rng.integers(1, len(shape) + 1))
    lead = pick(rng, ((4,), (2, 3)))
    indices = np.stack([rng.integers(0, n, lead) for n in shape[:depth]], -1)
    result = (*lead, *shape[depth:])
    return single("GATHER_ND", seed, dtype, [shape], [result], constants=[(indices, "int32")])


def _tile(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    times = [int(n) for n in rng.integers(1, 4, len(shape))]
    result = [n * t for n, t in zip(shape, times, strict=True)]
    return single("TILE", seed, dtype, [shape], [result], constants=[(times, "int32")])


def _broadcast_to(rng: Rng, seed: int, dtype: str) -> Model:
    result = any_shape(rng, 2, 5)
    shape = [1 if rng.integers(3) == 0 else n for n in result][int(rng.integers(2)) :]
    return single(
        "BROADCAST_TO", seed, dtype, [shape], [result], constants=[(result, "int32")], version=2
    )


def _padded(rng: Rng, seed: int, dtype: str, op: str) -> Model:
    shape, made, value = any_shape(rng), None, []
    limit = 2
    if op == "MIRROR_PAD":
        mode = pick(rng, ("REFLECT", "SYMMETRIC"))
        made = options("MirrorPad", mode=enum("MirrorPadMode", mode))
        limit = 1 if mode == "REFLECT" else 0
        most = [n - limit for n in shape]
    else:
        most = [limit for _ in shape]
    if op == "PADV2":
        value = [(np.array([1], dtype), dtype)]
    widths = [[int(rng.integers(0, m + 1)) for _ in range(2)] for m in most]
    result = [n + sum(pair) for n, pair in zip(shape, widths, strict=True)]
    kind = pick(rng, ("int32", "int64"))
    return single(op, seed, dtype, [shape], [result], constants=[(widths, kind), *value], made=made)


def _space_to_depth(rng: Rng, seed: int, dtype: str) -> Model:
    block, batch = pick(rng, (1, 2, 3)), pick(rng, (1, 2))
    height, width, depth = (int(n) for n in (*rng.integers(1, 4, 2), pick(rng, CHANNELS)))
    shape = (batch, height * block, width * block, depth)
    result = (batch, height, width, depth * block * block)
    made = options("SpaceToDepth", blockSize=block)
    return single("SPACE_TO_DEPTH", seed, dtype, [shape], [result], made=made)


def _depth_to_space(rng: Rng, seed: int, dtype: str) -> Model:
    block, batch = pick(rng, (1, 2, 3)), pick(rng, (1, 2))
    height, width, depth = (int(n) for n in (*rng.integers(1, 4, 2), pick(rng, CHANNELS)))
    shape = (batch, height, width, depth * block * block)
    result = (batch, height * block, width * block, depth)
    made = options("DepthToSpace", blockSize=block)
    return single("DEPTH_TO_SPACE", seed, dtype, [shape], [result], made=made)


def _space_to_batch(rng: Rng, seed: int, dtype: str) -> Model:
    axes = pick(rng, (1, 2, 2))
    block = [int(n) for n in rng.integers(1, 4, axes)]
    counts = [int(n) for n in rng.integers(2, 4, axes)]
    pads = [[int(rng.integers(2)), int(rng.integers(2))] for _ in block]
    space = [n * b - sum(p) for n, b, p in zip(counts, block, pads, strict=True)]
    if min(space) < 1:
        return _space_to_batch(rng, seed, dtype)
    batch, depth = pick(rng, (1, 2)), pick(rng, CHANNELS)
    result = (batch * int(np.prod(block)), *counts, depth)
    return single(
        "SPACE_TO_BATCH_ND",
        seed,
        dtype,
        [(batch, *space, depth)],
        [result],
        constants=[(block, "int32"), (pads, "int32")],
    )


def _batch_to_space(rng: Rng, seed: int, dtype: str) -> Model:
    axes = pick(rng, (1, 2, 2))
    block = [int(n) for n in rng.integers(1, 4, axes)]
    counts = [int(n) for n in rng.integers(2, 4, axes)]
    crops = [[int(rng.integers(b)), int(rng.integers(2))] for b in block]
    space = [n * b - sum(c) for n, b, c in zip(counts, block, crops, strict=True)]
    if min(space) < 1:
        return _batch_to_space(rng, seed, dtype)
    batch, depth = pick(rng, (1, 2)), pick(rng, CHANNELS)
    shape = (batch * int(np.prod(block)), *counts, depth)
    return single(
        "BATCH_TO_SPACE_ND",
        seed,
        dtype,
        [shape],
        [(batch, *space, depth)],
        constants=[(block, "int32"), (crops, "int32")],
    )


def _reverse(rng: Rng, seed: int, dtype: str) -> Model:
    shape = any_shape(rng)
    first = int(rng.integers(len(shape)))
    axes = list(range(first, int(rng.integers(first, len(shape))) + 1))
    return single("REVERSE_V2", seed, dtype, [shape], [shape], constants=[(axes, "int32")])


def _shape_of(rng: Rng, seed: int, dtype: str) -> Model:
    shape, kind = any_shape(rng), pick(rng, ("int32", "int64"))
    made = options("Shape", outType=enum("TensorType", kind.upper()))
    return single("SHAPE", seed, dtype, [shape], [[len(shape)]], made=made, result_dtype=kind)


def _padding(op: str) -> Move:
    return lambda rng, seed, dtype: _padded(rng, seed, dtype, op)


MOVES: dict[str, tuple[Move, tuple[str, ...], tuple[str, ...]]] = {
    "SQUEEZE": (_squeeze, _QUANTIZED, _PLAIN),
    "EXPAND_DIMS": (_expand_dims, _QUANTIZED, _PLAIN),
    "TRANSPOSE": (_transpose, _QUANTIZED, _PLAIN),
    "SLICE": (_slice, _QUANTIZED, _PLAIN),
    "STRIDED_SLICE": (_strided_slice, _QUANTIZED, _PLAIN),
    "SPLIT": (_split, _QUANTIZED, ("int32", "int64", "float32")),
    "SPLIT_V": (_split_v, _QUANTIZED, ("int32", "int64", "float32")),
    "PACK": (_pack, _QUANTIZED, ("int32", "int64", "float32")),
    "UNPACK": (_unpack, _QUANTIZED, ("int32", "float32", "bool")),
    "GATHER": (_gather, _QUANTIZED, _PLAIN),
    "GATHER_ND": (_gather_nd, _QUANTIZED, _PLAIN),
    "TILE": (_tile, _QUANTIZED, _PLAIN),
    "BROADCAST_TO": (_broadcast_to, _QUANTIZED, _PLAIN),
    "PADV2": (_padding("PADV2"), _QUANTIZED, _PLAIN),
    "MIRROR_PAD": (_padding("MIRROR_PAD"), _QUANTIZED, _PLAIN),
    "SPACE_TO_DEPTH": (_space_to_depth, ("int8", "uint8"), ("int32", "int64", "float32")),
    "DEPTH_TO_SPACE": (_depth_to_space, ("int8", "uint8"), ("int32", "int64", "float32")),
    "SPACE_TO_BATCH_ND": (_space_to_batch, _QUANTIZED, ("int32", "int64", "float32")),
    "BATCH_TO_SPACE_ND": (_batch_to_space, _QUANTIZED, ("int32", "int64", "float32")),
    "REVERSE_V2": (_reverse, _QUANTIZED, _PLAIN),
    "SHAPE": (_shape_of, _QUANTIZED, _PLAIN),
}
"""By op: what makes it, the quantized dtypes of its kernel, and the others."""


_NO_HALVES = {"SPLIT", "SPLIT_V", "PACK", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}
HALVES = tuple(op for op in MOVES if op not in _NO_HALVES)
"""Ops that move float16 values too."""


def move_families() -> dict[str, Callable[[Rng, int, str], Model]]:
    """One family for each quantized dtype, and "plain", which takes any of the others."""
    made: dict[str, Callable[[Rng, int, str], Model]] = {}

    def of(move: Move, dtypes: tuple[str, ...]) -> Callable[[Rng, int, str], Model]:
        return lambda rng, seed, _style: move(rng, seed, pick(rng, dtypes))

    for op, (move, quantized, plain) in MOVES.items():
        for dtype in quantized:
            made[f"{op}-{dtype}"] = of(move, (dtype,))
        made[f"{op}-plain"] = of(move, plain)
        if op in HALVES:
            made[f"{op}-float16"] = of(move, ("float16",))
    return made
