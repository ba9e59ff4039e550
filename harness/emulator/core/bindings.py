"""Which nodes the core runs, and how a node becomes a kernel.

A binding takes what a definition takes, a `Call`, and gives the same integers for many steps at
once. It gives None for whatever it is not exact for; the definition then runs.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness.arithmetic.requantize import Requantization
from harness.emulator.core import hybrid, moves, wide
from harness.emulator.core.kernels import (
    Accumulation,
    Elementwise,
    Kernel,
    Layer,
    Terms,
    Window,
    make_addition,
    make_convolution,
    make_depthwise,
    make_look_up,
    make_look_up_pair,
    make_max_pool,
    make_sum_pool,
)
from harness.emulator.core.nodes import ElementwiseRun, LayerRun, NotHere, require, window_of
from harness.emulator.definitions import (
    DEFINITIONS,
    ELEMENTWISE,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import check_bias, requantization, weight_zero_point
from harness.emulator.ops.add import xnnpack_multipliers
from harness.emulator.ops.broadcast import walk
from harness.emulator.ops.clamp import fused_activation, xnnpack_clamp
from harness.emulator.ops.conv_blocks import BLOCKS_OF_8
from harness.emulator.ops.fully_connected import of_any_bits, output_shape
from harness.emulator.ops.mean import FINISHES, make_reduction
from harness.emulator.ops.pool import (
    count_inside,
    divide_ties_away,
    integer_clamp,
    pool_windows,
)
from harness.emulator.ops.windows import make_windows

_BYTES = ("int8", "uint8")
_ALL_BYTES = np.arange(256, dtype=np.uint8)

Binding = Callable[[Call, str], Run]


def bind(call: Call, level: str) -> Run | None:
    """The core's way to run a node; None when the definition must.

    Args:
        call: the node. Its constants are packed here, once.
        level: one of `harness.emulator.core.available_levels`.

    Returns:
        As a definition's `Run`, but for any number of steps at once: every computed input and every
        result has one more leading axis, the steps.
    """
    elementwise = (call.node.op, call.semantics) in ELEMENTWISE
    binding = _bind_elementwise if elementwise else _BINDINGS.get(call.node.op)
    if call.node.op in {"ADD", "SUB"} and call.semantics == "xnnpack" and _is_sum(call):
        binding = _bind_addition
    if call.semantics in hybrid.SEMANTICS:
        binding = hybrid.bind
    elif call.node.op == "GELU" and call.semantics == "float":
        binding = wide.bind_gelu
    elif moves.is_by_table(call):
        binding = moves.bind_softmax
    elif call.node.op in moves.MOVES:
        binding = moves.bind_move
    elif not elementwise and call.inputs and call.inputs[0] and call.inputs[0].dtype == "int16":
        binding = wide.bind
    try:
        return binding(call, level) if binding else None
    except (NotHere, CannotRun, NoDefinition, ValueError, MemoryError):
        return None  # the definition computes it, or says better what is wrong with it


def _run_images(kernel: Kernel) -> Run:
    """A kernel over images as a `Run`: the images of all steps are one batch."""

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        y = kernel(x.reshape(-1, *x.shape[2:]))
        return (y.reshape(*x.shape[:2], *y.shape[1:]),)

    return run


# Convolution, depthwise convolution, fully connected ---------------------------------------------


def _accumulation(call: Call, axis: int) -> Accumulation:
    """The node's constants; `axis` of the output channels in the weights."""
    x, w, bias = call.input(0), call.input(1), call.optional(2)
    check_bias(call, w.shape[axis])
    weights = w.data
    if weights is None or (bias is not None and bias.data is None):
        raise NotHere
    require(x.dtype in _BYTES and call.output.dtype in _BYTES and weights.dtype in _BYTES)
    parameters: Requantization = requantization(call)
    return Accumulation(
        weights=weights,
        weight_zero=weight_zero_point(w, axis),
        bias=None if bias is None or bias.data is None else bias.data.astype(np.int32, copy=False),
        input_dtype=x.dtype,
        input_zero=scale_and_zero_point(x)[1],
        output_dtype=call.output.dtype,
        requantization=parameters,
    )


def _over_images(call: Call, layer: Layer) -> LayerRun:
    return LayerRun(layer, (call.input(0).shape[0], *layer.image))


def _bind_convolution(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    require(len(weights) == 4 and weights[3] > 0 and channels % weights[3] == 0)
    windows = make_windows(call, (weights[1], weights[2]))
    window = window_of(windows, (channels, weights[0]))
    layer = _accumulation(call, axis=0)
    return _over_images(call, make_convolution(level, window, channels // weights[3], layer))


def _bind_depthwise(call: Call, level: str) -> Run:
    weights, channels = call.input(1).shape, call.input(0).shape[-1]
    require(len(weights) == 4 and weights[0] == 1 and channels > 0 and weights[3] % channels == 0)
    multiplier = weights[3] // channels
    windows = make_windows(call, (weights[1], weights[2]))
    window = window_of(windows, (weights[3], weights[3]))
    blocks = call.semantics == BLOCKS_OF_8
    body, rest = (replace(call, semantics=f"{s}:double") if blocks else call for s in ("S2", "S1"))
    layer, cut = _accumulation(rest, axis=3), weights[3] // 8 * 8 if blocks else 0
    parts = ((0, cut, requantization(body)), (cut, weights[3], layer.requantization))
    kernel = make_depthwise(level, window, layer, [part for part in parts if part[0] < part[1]])
    if multiplier == 1:
        return _over_images(call, kernel)
    return _run_images(lambda x: kernel(np.repeat(x, multiplier, axis=3)))


def _bind_fully_connected(call: Call, level: str) -> Run:
    units, depth = call.input(1).shape
    window = Window(in_h=1, in_w=1, in_c=depth, out_h=1, out_w=1, out_c=units)
    layer = make_convolution(level, window, 1, _accumulation(of_any_bits(call), axis=0))
    return LayerRun(layer, output_shape(call))


# Pools -------------------------------------------------------------------------------------------


def _bind_max_pool(call: Call, _level: str) -> Run:
    x = call.input(0)
    require(x.dtype in _BYTES and call.output.dtype == x.dtype)
    low, high = integer_clamp(call)
    limits = np.iinfo(x.dtype)
    pool = make_max_pool(window_of(pool_windows(call), (x.shape[-1], x.shape[-1])), x.dtype)
    if (low, high) == (limits.min, limits.max):
        return _over_images(call, pool)
    return _run_images(lambda image: np.clip(pool(image), low, high))


def _bind_average_pool(call: Call, _level: str) -> Run:
    x = call.input(0)
    require(call.semantics == "integer" and x.dtype in _BYTES and call.output.dtype == x.dtype)
    low, high = integer_clamp(call)
    windows = pool_windows(call)
    count = count_inside(windows).astype(np.int32)
    sums = make_sum_pool(window_of(windows, (x.shape[-1], x.shape[-1])))
    return _run_images(
        lambda image: np.clip(divide_ties_away(sums(image), count), low, high).astype(x.dtype)
    )


def _bind_mean(call: Call, _level: str) -> Run:
    """Sums over whole images here; the rest is the definition's."""
    x = call.input(0)
    require(call.semantics in FINISHES and x.dtype in _BYTES and len(x.shape) == 4)
    reduction, finish = make_reduction(call), FINISHES[call.semantics](call)
    require(reduction.axes == (1, 2))
    _, height, width, channels = x.shape
    sums = make_sum_pool(Window(height, width, channels, 1, 1, channels, height, width))

    def run(values: Values) -> tuple[Array]:
        images = required(values[0])
        total = sums(images.reshape(-1, *x.shape[1:])).astype(np.int64)
        return (finish(total).reshape(len(images), *reduction.shape),)

    return run


# Additions ---------------------------------------------------------------------------------------


def _is_sum(call: Call) -> bool:
    """Of two arrays that the kernel takes; others are pairs of a table."""
    a, b = call.input(0), call.input(1)
    return a.data is None and b.data is None and a.shape == b.shape and a.dtype == b.dtype


def _bind_addition(call: Call, level: str) -> Run:
    a, b, y = call.input(0), call.input(1), call.output
    require(a.dtype in _BYTES and y.dtype in _BYTES)
    scale, zero_point = scale_and_zero_point(y)
    clamp = xnnpack_clamp(fused_activation(call), scale, zero_point, y.dtype)
    input_zeros = scale_and_zero_point(a)[1], scale_and_zero_point(b)[1]
    terms = (*xnnpack_multipliers(call), *input_zeros, zero_point, *clamp)
    add = make_addition(level, Terms(*terms), a.dtype, y.dtype)
    return ElementwiseRun(add, a.shape, 2)


# Element-wise ops as tables of their definitions -------------------------------------------------


def _bind_elementwise(call: Call, level: str) -> Run:
    """A table over all 256 values, or all 65,536 pairs, that the definition itself fills."""
    if call.node.op in {"ADD", "SUB"} and call.input(0).dtype == "int16":
        return wide.bind(call, level)
    require(call.output.dtype in _BYTES)
    tensors = [t for t in call.inputs if t is not None]
    require(len(tensors) == len(call.inputs) <= 2)
    require(all(t.dtype in _BYTES for t in tensors))
    block = ELEMENTWISE[call.node.op, call.semantics]
    require(len(_ALL_BYTES) % block == 0)
    if len(tensors) == 1:
        require(tensors[0].data is None)
        rest = math.prod(tensors[0].shape) % block
        return _bind_unary_with_rest(call, rest) if rest else _bind_unary(call)
    first, second = tensors
    require(block == 1 or walk(first.shape, second.shape).run % block == 0)
    if first.shape == second.shape and first.data is None and second.data is None:
        return _bind_pair(call)
    return _bind_broadcast(call)


def _bind_unary(call: Call) -> Run:
    look_up = make_look_up(_fill(call, _ALL_BYTES.view(call.input(0).dtype)), call.input(0).dtype)
    return ElementwiseRun(look_up, call.input(0).shape, 1)


def _bind_unary_with_rest(call: Call, rest: int) -> Run:
    """Whole blocks by one table; the elements behind them, by their place, by tables of theirs."""
    dtype = call.input(0).dtype
    look_up = make_look_up(_fill(call, _ALL_BYTES.view(dtype)), dtype)
    alone = [_fill(call, np.full(rest, byte, np.uint8).view(dtype)) for byte in _ALL_BYTES]
    tables, places = np.stack(alone), np.arange(rest)  # (256, rest)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        y, behind = look_up(x), x.reshape(len(x), -1)[:, -rest:].view(np.uint8)
        y.reshape(len(x), -1)[:, -rest:] = tables[behind, places]
        return (y,)

    return run


def _pair_table(call: Call) -> Elementwise:
    a = np.repeat(_ALL_BYTES, 256).view(call.input(0).dtype)
    b = np.tile(_ALL_BYTES, 256).view(call.input(1).dtype)
    return make_look_up_pair(_fill(call, a, b), call.input(0).dtype)


def _bind_pair(call: Call) -> Run:
    return ElementwiseRun(_pair_table(call), call.input(0).shape, 2)


def _bind_broadcast(call: Call) -> Run:
    """Pairs of arrays that are brought to one shape first, constants among them."""
    by_one = call.input(1).data
    if by_one is not None and by_one.size == 1 and call.input(0).data is None:
        return _bind_by_one(call, by_one)
    look_up = _pair_table(call)
    tensors = (call.input(0), call.input(1))
    shape = np.broadcast_shapes(tensors[0].shape, tensors[1].shape)
    require(any(t.data is None for t in tensors) and math.prod(shape) > 0)

    def run(values: Values) -> tuple[Array]:
        arrays = [required(value) for value in values]
        steps = next(len(x) for x, t in zip(arrays, tensors, strict=True) if t.data is None)
        spread = []
        for x, tensor in zip(arrays, tensors, strict=True):
            own = (1,) * (len(shape) - len(tensor.shape)) + tensor.shape
            stacked = x.reshape(1 if tensor.data is not None else steps, *own)
            spread.append(np.broadcast_to(stacked, (steps, *shape)))
        return (look_up(*spread),)

    return run


def _bind_by_one(call: Call, second: Array) -> Run:
    """Pairs whose second is one constant: a table of the first."""
    first = call.input(0)
    require(math.prod(np.broadcast_shapes(first.shape, second.shape)) == math.prod(first.shape))
    a = _ALL_BYTES.view(first.dtype)
    filled = _fill(call, a, np.broadcast_to(second.reshape(1), a.shape))
    shape = np.broadcast_shapes(first.shape, second.shape)
    look_up = make_look_up(filled, first.dtype)
    if shape == first.shape:
        return ElementwiseRun(look_up, shape, 1)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        return (look_up(x).reshape(len(x), *shape),)

    return run


def _fill(call: Call, *domain: Array) -> Array:
    flat = replace(
        call,
        inputs=tuple(
            replace(t, shape=x.shape, data=None)
            for t, x in zip(call.inputs, domain, strict=True)
            if t is not None
        ),
        outputs=(replace(call.output, shape=domain[0].shape),),
    )
    return DEFINITIONS[call.node.op, call.semantics](flat)(domain)[0]


_BINDINGS: dict[str, Binding] = {
    "CONV_2D": _bind_convolution,
    "DEPTHWISE_CONV_2D": _bind_depthwise,
    "FULLY_CONNECTED": _bind_fully_connected,
    "AVERAGE_POOL_2D": _bind_average_pool,
    "BATCH_MATMUL": moves.bind_matrices,
    "MAX_POOL_2D": _bind_max_pool,
    "MEAN": _bind_mean,
}
