"""Ops that move blocks between space, depth and batch, and mirrored borders; none computes."""

import numpy as np

from harness.emulator.definitions import Call, CannotRun, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.shape import MOVE, check_size, integers, same_quantization
from harness.emulator.ops.windows import surround


def _image(x: Array) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise CannotRun(f"{x.ndim} dimensions, allowed: 4")
    batch, height, width, depth = x.shape
    return batch, height, width, depth


def _block(call: Call) -> int:
    block = int(call.node.options.get("block_size", 0))
    if block < 1:
        raise CannotRun(f"block_size {block}")
    return block


@define(["SPACE_TO_DEPTH"], [MOVE])
def bind_space_to_depth(call: Call) -> Run:
    """Each block of pixels becomes one pixel, its channels row by row.

    Source: LiteRT kernels/internal/reference/space_to_depth.h; XNNPACK
    src/operators/transpose-nd.c.
    """
    same_quantization([call.inputs[0], call.output])
    block = _block(call)

    def run(values: Values) -> tuple[Array]:
        n, h, w, c = _image(x := required(values[0]))
        pixels = x.reshape(n, h // block, block, w // block, block, c).transpose(0, 1, 3, 2, 4, 5)
        return (pixels.reshape(n, h // block, w // block, block * block * c),)

    return run


@define(["DEPTH_TO_SPACE"], [MOVE])
def bind_depth_to_space(call: Call) -> Run:
    """Each pixel becomes a block of pixels: the inverse of SPACE_TO_DEPTH.

    Source: LiteRT kernels/internal/reference/depth_to_space.h; XNNPACK
    src/operators/transpose-nd.c.
    """
    same_quantization([call.inputs[0], call.output])
    block = _block(call)

    def run(values: Values) -> tuple[Array]:
        n, h, w, c = _image(x := required(values[0]))
        depth = c // (block * block)
        pixels = x.reshape(n, h, w, block, block, depth).transpose(0, 1, 3, 2, 4, 5)
        return (pixels.reshape(n, h * block, w * block, depth),)

    return run


def _pairs(values: Values, index: int, count: int) -> list[tuple[int, int]]:
    """A matrix of (before, after), one row for each of `count` axes, none negative."""
    flat = integers(values, index)
    if len(flat) != 2 * count or min(flat, default=0) < 0:
        raise CannotRun(f"input {index} is {flat} for {count} dimensions")
    return list(zip(flat[::2], flat[1::2], strict=True))


@define(["SPACE_TO_BATCH_ND"], [MOVE])
def bind_space_to_batch(call: Call) -> Run:
    """Padded with the zero point; each position within a block becomes a batch.

    Source: LiteRT kernels/space_to_batch_nd.cc; internal/reference/space_to_batch_nd.h.
    """
    same_quantization([call.inputs[0], call.output])
    found = call.output.quantization
    zero = int(found.zero_points[0]) if found is not None else 0

    def run(values: Values) -> tuple[Array]:
        x, block = required(values[0]), integers(values, 1)
        axes = len(block)
        pads = _pairs(values, 2, axes)
        if not 1 <= axes < x.ndim or min(block) < 1:
            raise CannotRun(f"blocks of {block} on {x.ndim} dimensions")
        widths = [(0, 0), *pads, *[(0, 0)] * (x.ndim - 1 - axes)]
        check_size([d + b + a for d, (b, a) in zip(x.shape, widths, strict=True)])
        padded = surround(x, widths, zero)
        batch, rest = x.shape[0], x.shape[1 + axes :]
        split = [
            n for d, b in zip(padded.shape[1 : 1 + axes], block, strict=True) for n in (d // b, b)
        ]
        inside, outside = range(2, 2 * axes + 1, 2), range(1, 2 * axes, 2)
        tail = range(2 * axes + 1, 2 * axes + 1 + len(rest))
        moved = padded.reshape(batch, *split, *rest).transpose(*inside, 0, *outside, *tail)
        return (moved.reshape(-1, *split[::2], *rest),)

    return run


@define(["BATCH_TO_SPACE_ND"], [MOVE])
def bind_batch_to_space(call: Call) -> Run:
    """Batches become positions within a block, then a border is cut: SPACE_TO_BATCH_ND's inverse.

    Source: LiteRT kernels/batch_to_space_nd.cc; internal/reference/batch_to_space_nd.h.
    """
    same_quantization([call.inputs[0], call.output])

    def run(values: Values) -> tuple[Array]:
        x, block = required(values[0]), integers(values, 1)
        axes = len(block)
        crops = _pairs(values, 2, axes)
        if not 1 <= axes < x.ndim or min(block) < 1:
            raise CannotRun(f"blocks of {block} on {x.ndim} dimensions")
        space, rest = x.shape[1 : 1 + axes], x.shape[1 + axes :]
        split = x.reshape(*block, -1, *space, *rest)
        order = [axes, *(n for i in range(axes) for n in (axes + 1 + i, i))]
        tail = range(2 * axes + 1, 2 * axes + 1 + len(rest))
        grown = [d * b for d, b in zip(space, block, strict=True)]
        y = split.transpose(*order, *tail).reshape(-1, *grown, *rest)
        box = [slice(b, d - a) for d, (b, a) in zip(grown, crops, strict=True)]
        return (np.ascontiguousarray(y[(slice(None), *box)]),)

    return run


@define(["MIRROR_PAD"], [MOVE])
def bind_mirror_pad(call: Call) -> Run:
    """A border that mirrors the tensor, its outermost element repeated (symmetric) or not.

    Source: LiteRT kernels/mirror_pad.cc, GetInputDimension.
    """
    same_quantization([call.inputs[0], call.output])
    mode = str(call.node.options.get("mode", "REFLECT"))
    shrink = 1 if mode == "REFLECT" else 0

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        widths = _pairs(values, 1, x.ndim)
        if any(max(pair) > d - shrink for d, pair in zip(x.shape, widths, strict=True)):
            raise CannotRun(f"paddings {widths} of {list(x.shape)}, mode {mode}")
        check_size([d + b + a for d, (b, a) in zip(x.shape, widths, strict=True)])
        return (np.pad(x, widths, "reflect" if shrink else "symmetric"),)

    return run
