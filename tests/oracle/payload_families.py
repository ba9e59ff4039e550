"""Draws of single XNNPACK nodes for `tests.oracle.payloads`: odd shapes, channels, scales."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.oracle.build import Quant, per_tensor
from tests.oracle.models import Draw
from tests.oracle.payloads import ABSENT, INPUT, OUTPUT, PayloadBuilder

Family = Callable[[PayloadBuilder, Draw], None]
CHANNELS = (1, 3, 5, 8, 15, 16, 17, 33)
LIMITS = (None, None, (0.0, math.inf), (0.0, 6.0), (-0.7, 1.3))


def pick(draw: Draw, values: Any) -> Any:
    """One of them."""
    return values[int(draw.rng.integers(len(values)))]


def quant(draw: Draw, scale: float | None = None) -> Quant:
    """An activation's scale and any zero point."""
    return per_tensor(scale or draw.scale(), int(draw.rng.integers(-128, 128)))


def image(draw: Draw, channels: int | None = None) -> tuple[int, ...]:
    """NHWC."""
    height, width = (int(n) for n in draw.rng.integers(6, 11, 2))
    return (pick(draw, (1, 1, 2, 3)), height, width, channels or pick(draw, CHANNELS))


def _weights(draw: Draw, shape: tuple[int, ...], axis: int, b: PayloadBuilder) -> tuple[int, Quant]:
    channels = shape[axis]
    values, found = draw.weights(shape, "int8", channels, axis, bool(draw.rng.integers(3)))
    return b.constant(values, "int8", found), found


def _bias(draw: Draw, channels: int, s_x: float, w: Quant, b: PayloadBuilder) -> int:
    if not draw.rng.integers(4):
        return ABSENT
    scales = tuple(float(np.float32(s_x) * np.float32(s)) for s in w.scale)
    values = draw.rng.integers(-20000, 20000, channels).astype(np.int32)
    return b.constant(values, "int32", Quant(scales, (0,) * len(scales), 0))


def _conv(kind: str, groups_of: Callable[[Draw], tuple[int, int, int]]) -> Family:
    """`groups_of` gives (groups, inputs a group, outputs a group)."""

    def add(b: PayloadBuilder, draw: Draw) -> None:
        groups, inputs, outputs = groups_of(draw)
        kernel = pick(draw, ((1, 1), (3, 3), (3, 3), (2, 3), (5, 5)))
        stride = pick(draw, ((1, 1), (1, 1), (2, 2), (1, 2)))
        dilation = pick(draw, ((1, 1), (1, 1), (2, 2))) if max(kernel) < 5 else (1, 1)
        top, right, bottom, left = (int(n) for n in draw.rng.integers(0, 3, 4))
        shape = image(draw, groups * inputs)
        x_q = quant(draw)
        deep = kind == "XNNDepthwiseConv2d"
        total = groups * outputs
        filters = (1, *kernel, total) if deep else (total, *kernel, inputs)
        x = b.value(shape, "int8", x_q, INPUT)
        w, w_q = _weights(draw, filters, 3 if deep else 0, b)
        bias = _bias(draw, total, x_q.scale[0], w_q, b)
        size = [
            (shape[1 + i] + pads - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1
            for i, pads in enumerate((top + bottom, left + right))
        ]
        scale = draw.product_scale(x_q.scale[0], w_q, kernel[0] * kernel[1] * inputs)
        y = b.value((shape[0], *size, total), "int8", quant(draw, scale), OUTPUT)
        b.node(
            kind,
            pick(draw, LIMITS),
            padding_top=top,
            padding_right=right,
            padding_bottom=bottom,
            padding_left=left,
            kernel_height=kernel[0],
            kernel_width=kernel[1],
            subsampling_height=stride[0],
            subsampling_width=stride[1],
            dilation_height=dilation[0],
            dilation_width=dilation[1],
            group_input_channels=inputs,
            group_output_channels=outputs,
            groups=groups,
            adjustment_height=0,
            adjustment_width=0,
            input1_id=x,
            filter_id=w,
            bias_id=bias,
            output_id=y,
        )

    return add


def deconvolution(b: PayloadBuilder, draw: Draw) -> None:
    """With a border, strides, dilation, groups, and rows that no window reaches."""
    groups, inputs, outputs = pick(draw, ((1, 5, 8), (1, 16, 3), (2, 4, 5), (3, 1, 1), (1, 33, 17)))
    kernel = pick(draw, ((1, 1), (3, 3), (2, 2), (2, 3), (4, 4)))
    stride = pick(draw, ((1, 1), (2, 2), (2, 1), (3, 3)))
    dilation = pick(draw, ((1, 1), (1, 1), (2, 2)))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    top, bottom = (int(n) for n in draw.rng.integers(0, reach[0] + 1, 2))
    left, right = (int(n) for n in draw.rng.integers(0, reach[1] + 1, 2))
    extra = [int(draw.rng.integers(0, s)) for s in stride]
    shape, x_q = image(draw, groups * inputs), quant(draw)
    total = groups * outputs
    x = b.value(shape, "int8", x_q, INPUT)
    w, w_q = _weights(draw, (total, *kernel, inputs), 0, b)
    bias = _bias(draw, total, x_q.scale[0], w_q, b)
    size = [
        (shape[1 + i] - 1) * stride[i] + reach[i] + 1 + extra[i] - pads
        for i, pads in enumerate((top + bottom, left + right))
    ]
    scale = draw.product_scale(x_q.scale[0], w_q, kernel[0] * kernel[1] * inputs)
    y = b.value((shape[0], *size, total), "int8", quant(draw, scale), OUTPUT)
    b.node(
        "XNNConvTranspose2d",
        pick(draw, LIMITS),
        padding_top=top,
        padding_right=right,
        padding_bottom=bottom,
        padding_left=left,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        subsampling_height=stride[0],
        subsampling_width=stride[1],
        dilation_height=dilation[0],
        dilation_width=dilation[1],
        group_input_channels=inputs,
        group_output_channels=outputs,
        groups=groups,
        adjustment_height=extra[0],
        adjustment_width=extra[1],
        input1_id=x,
        filter_id=w,
        bias_id=bias,
        output_id=y,
    )


def fully_connected(b: PayloadBuilder, draw: Draw) -> None:
    """Rows of one or two leading dimensions."""
    rows, depth, units = pick(draw, ((1,), (4,), (2, 3))), pick(draw, (*CHANNELS, 100)), 0
    units = pick(draw, CHANNELS)
    x_q = quant(draw)
    x = b.value((*rows, depth), "int8", x_q, INPUT)
    w, w_q = _weights(draw, (units, depth), 0, b)
    bias = _bias(draw, units, x_q.scale[0], w_q, b)
    scale = draw.product_scale(x_q.scale[0], w_q, depth)
    y = b.value((*rows, units), "int8", quant(draw, scale), OUTPUT)
    b.node(
        "XNNFullyConnected",
        pick(draw, LIMITS),
        input1_id=x,
        filter_id=w,
        bias_id=bias,
        output_id=y,
    )


def _shapes(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Equal ones, or two that broadcast."""
    shape = image(draw)
    other = pick(draw, (shape, shape, (1, 1, 1, shape[3]), (1, 1, 1, 1), (1, *shape[1:3], 1)))
    return (shape, other) if draw.rng.integers(2) else (other, shape)


def _binary(kind: str) -> Family:
    def add(b: PayloadBuilder, draw: Draw) -> None:
        first, second = _shapes(draw)
        a_q, b_q = quant(draw), quant(draw)
        both = a_q.scale[0] * b_q.scale[0] * 64 if kind == "XNNMultiply" else a_q.scale[0]
        inputs = [b.value(first, "int8", a_q, INPUT), b.value(second, "int8", b_q, INPUT)]
        shape = np.broadcast_shapes(first, second)
        y = b.value(shape, "int8", quant(draw, draw.near(both)), OUTPUT)
        b.node(kind, pick(draw, LIMITS), input1_id=inputs[0], input2_id=inputs[1], output_id=y)

    return add


def mean(b: PayloadBuilder, draw: Draw) -> None:
    """Over height and width."""
    shape, x_q = image(draw), quant(draw)
    x = b.value(shape, "int8", x_q, INPUT)
    y_q = quant(draw, draw.near(x_q.scale[0]))
    y = b.value((shape[0], 1, 1, shape[3]), "int8", y_q, OUTPUT)
    b.node("XNNGlobalAvgPooling2d", input_id=x, output_id=y, flags=0x40)


def maximum(b: PayloadBuilder, draw: Draw) -> None:
    """Over windows, which may lie over the border."""
    shape, q = image(draw), quant(draw)
    window, stride = pick(draw, ((2, 2), (3, 3), (2, 3))), pick(draw, ((1, 1), (2, 2), (1, 2)))
    pads = (0, 0, 0, 0) if draw.rng.integers(2) else (1, 1, 1, 1)
    size = [(shape[1 + i] + 2 * pads[0] - window[i]) // stride[i] + 1 for i in (0, 1)]
    x = b.value(shape, "int8", q, INPUT)
    y = b.value((shape[0], *size, shape[3]), "int8", q, OUTPUT)
    names = ("padding_top", "padding_right", "padding_bottom", "padding_left")
    b.node(
        "XNNMaxPooling2d",
        pick(draw, LIMITS),
        **dict(zip(names, pads, strict=True)),
        pooling_height=window[0],
        pooling_width=window[1],
        stride_height=stride[0],
        stride_width=stride[1],
        dilation_height=1,
        dilation_width=1,
        input_id=x,
        output_id=y,
    )


def clamp(b: PayloadBuilder, draw: Draw) -> None:
    """A range as a node of its own."""
    shape, q = image(draw), quant(draw)
    x, y = (b.value(shape, "int8", q, flag) for flag in (INPUT, OUTPUT))
    b.node("XNNClamp", pick(draw, LIMITS[2:]), input_id=x, output_id=y)


def _convert(source: str, target: str) -> Family:
    def add(b: PayloadBuilder, draw: Draw) -> None:
        shape, x_q = image(draw), quant(draw)
        y_q = quant(draw, draw.near(x_q.scale[0]))
        x = b.value(shape, source, x_q if source == "int8" else None, INPUT)
        y = b.value(shape, target, y_q if target == "int8" else None, OUTPUT)
        b.node("XNNConvert", input_id=x, output_id=y)

    return add


def _quant_of(draw: Draw, dtype: str) -> Quant | None:
    return quant(draw) if dtype == "int8" else None


def pad(b: PayloadBuilder, draw: Draw, dtype: str = "int8") -> None:
    """With a value that is rounded to the tensor's scale."""
    shape, q = image(draw), _quant_of(draw, dtype)
    before, after = ([int(n) for n in draw.rng.integers(0, 3, 4)] for _ in range(2))
    made = tuple(n + p + a for n, p, a in zip(shape, before, after, strict=True))
    x, y = b.value(shape, dtype, q, INPUT), b.value(made, dtype, q, OUTPUT)
    b.node(
        "XNNStaticConstantPad",
        pre_paddings=before,
        post_paddings=after,
        padding_value=float(draw.rng.normal()),
        input_id=x,
        output_id=y,
    )


def concatenate(b: PayloadBuilder, draw: Draw, dtype: str = "int8") -> None:
    """Two to five tensors of one quantization."""
    shape, q = image(draw), _quant_of(draw, dtype)
    count, axis = int(draw.rng.integers(2, 6)), int(draw.rng.integers(4))
    inputs = []
    total = 0
    for _ in range(count):
        part = list(shape)
        part[axis] = int(draw.rng.integers(1, 6))
        total += part[axis]
        inputs.append(b.value(part, dtype, q, INPUT))
    made = [*shape[:axis], total, *shape[axis + 1 :]]
    y = b.value(made, dtype, q, OUTPUT)
    names = {f"input{n + 1}_id": (inputs[n] if n < count else ABSENT) for n in range(5)}
    b.node(f"XNNConcatenate{count}", axis=axis, output_id=y, **names)


def transpose(b: PayloadBuilder, draw: Draw, dtype: str = "int8") -> None:
    """Any order of the axes."""
    shape, q = image(draw), _quant_of(draw, dtype)
    order = [int(n) for n in draw.rng.permutation(4)]
    x = b.value(shape, dtype, q, INPUT)
    y = b.value([shape[n] for n in order], dtype, q, OUTPUT)
    b.node("XNNStaticTranspose", num_dims=4, perm=order, input_id=x, output_id=y)


def reshape(b: PayloadBuilder, draw: Draw, dtype: str = "int8") -> None:
    """To a matrix."""
    shape, q = image(draw), _quant_of(draw, dtype)
    made = [shape[0] * shape[1], shape[2] * shape[3]]
    x, y = b.value(shape, dtype, q, INPUT), b.value(made, dtype, q, OUTPUT)
    b.node("XNNStaticReshape", num_dims=2, new_shape=made, input_id=x, output_id=y)


def cut(b: PayloadBuilder, draw: Draw, dtype: str = "int8") -> None:
    """A box of the input."""
    shape, q = image(draw), _quant_of(draw, dtype)
    offsets = [int(draw.rng.integers(0, n)) for n in shape]
    sizes = [int(draw.rng.integers(1, n - o + 1)) for n, o in zip(shape, offsets, strict=True)]
    x, y = b.value(shape, dtype, q, INPUT), b.value(sizes, dtype, q, OUTPUT)
    fields = {"num_dims": 4, "offsets": offsets, "sizes": sizes}
    b.node("XNNStaticSlice", input_id=x, output_id=y, **fields)


def _function(kind: str, **fields: float) -> Family:
    """A function of int8 values. ExecuTorch's own quantizer gives XNNPACK none but ELU as such."""

    def add(b: PayloadBuilder, draw: Draw) -> None:
        shape, x_q = image(draw), quant(draw)
        x = b.value(shape, "int8", x_q, INPUT)
        y = b.value(shape, "int8", quant(draw, draw.near(x_q.scale[0])), OUTPUT)
        b.node(kind, input_id=x, output_id=y, **fields)

    return add


def dynamic(b: PayloadBuilder, draw: Draw) -> None:
    """Rows of floats that are quantized on the way to a fully connected layer."""
    rows, depth = pick(draw, ((1,), (2,), (4,), (9,), (2, 3))), pick(draw, (*CHANNELS, 64, 100))
    units = pick(draw, CHANNELS[1:])
    x = b.value((*rows, depth), "float32", None, INPUT)
    converted = b.quantized_at_run_time((*rows, depth))
    b.node("XNNConvert", input_id=x, output_id=converted)
    weights, found = draw.weights((units, depth), "int8", units, 0, per_channel=True)
    w = b.constant(weights, "int8", found)
    bias = ABSENT
    if draw.rng.integers(3):
        bias = b.constant(draw.rng.normal(0, 2, units).astype(np.float32), "float32")
    y = b.value((*rows, units), "float32", None, OUTPUT)
    fields = {"input1_id": converted, "filter_id": w, "bias_id": bias, "output_id": y}
    b.node("XNNFullyConnected", pick(draw, LIMITS), **fields)


FAMILIES: dict[str, Family] = {
    "conv": _conv("XNNConv2d", lambda d: (1, pick(d, CHANNELS), pick(d, CHANNELS))),
    "grouped": _conv(
        "XNNConv2d", lambda d: (pick(d, (2, 3)), pick(d, (2, 4, 5)), pick(d, (1, 3, 8)))
    ),
    "depthwise": _conv("XNNDepthwiseConv2d", lambda d: (pick(d, CHANNELS), 1, pick(d, (1, 1, 2)))),
    "deconvolution": deconvolution,
    "fully-connected": fully_connected,
    "dynamic": dynamic,
    "add": _binary("XNNAdd"),
    "subtract": _binary("XNNSubtract"),
    "multiply": _binary("XNNMultiply"),
    "mean": mean,
    "maximum": maximum,
    "clamp": clamp,
    "convert": _convert("int8", "int8"),
    "quantize": _convert("float32", "int8"),
    "dequantize": _convert("int8", "float32"),
    "pad": pad,
    "concatenate": concatenate,
    "transpose": transpose,
    "reshape": reshape,
    "slice": cut,
    "pad-float": partial(pad, dtype="float32"),
    "concatenate-float": partial(concatenate, dtype="float32"),
    "transpose-float": partial(transpose, dtype="float32"),
    "reshape-float": partial(reshape, dtype="float32"),
    "slice-float": partial(cut, dtype="float32"),
    "elu": _function("XNNELU", alpha=1.0),
    "leaky-relu": _function("XNNLeakyReLU", negative_slope=0.3),
    "sigmoid": _function("XNNSigmoid"),
    "tanh": _function("XNNTanh"),
}


def draw_program(family: str, count: int, draw: Draw) -> bytes:
    """A file of `count` nodes of one family."""
    builder = PayloadBuilder()
    for _ in range(count):
        FAMILIES[family](builder, draw)
    return builder.finish()
