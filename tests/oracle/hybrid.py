"""Models of hybrid ops: float32 activations on integer weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracle.build import Array, Builder, Quant, options
from tests.oracle.models import (
    Draw,
    Model,
    Pair,
    Style,
    activation_of,
    enum,
    model,
    output_length,
)

_BITS = {"int8": 8, "int4": 4, "int2": 2}


def pack(values: Array, bits: int) -> Array:
    """Integers of 8, 4 or 2 bits as a file holds them: the lowest bits of a byte first."""
    if bits == 8:
        return values.astype(np.int8)
    flat = values.astype(np.uint8).reshape(-1) & ((1 << bits) - 1)
    each = 8 // bits
    flat = np.pad(flat, (0, -len(flat) % each)).reshape(-1, each)
    shifts = np.arange(each, dtype=np.uint8) * bits
    return np.bitwise_or.reduce(flat << shifts, axis=1).astype(np.uint8)


def weights(
    builder: Builder, draw: Draw, shape: Sequence[int], dtype: str, axis: int | None
) -> int:
    """A constant of symmetric weights, with a scale for each slice along `axis` or one for all."""
    bits = _BITS[dtype]
    high = (1 << (bits - 1)) - 1
    low = -high if bits > 2 else -2
    values = draw.rng.integers(low, high + 1, shape)
    base = draw.scale()
    count = 1 if axis is None else shape[axis]
    scales = tuple(float(np.float32(draw.near(base))) for _ in range(count))
    quant = Quant(scales, (0,) * count, axis or 0)
    return builder.constant(
        pack(values, bits), dtype, quant, shape=None if bits == 8 else tuple(shape)
    )


def _bias(builder: Builder, draw: Draw, channels: int) -> int:
    return builder.constant(draw.rng.normal(0, 2, channels).astype(np.float32), "float32")


def fully_connected(
    seed: int = 0,
    *,
    rows: Sequence[int] = (1,),
    depth: int = 16,
    channels: int = 8,
    dtype: str = "int8",
    per_channel: bool = True,
    asymmetric: bool = False,
    activation: str = "NONE",
    style: Style = "random",
    bias: bool = True,
    keep_dims: bool = False,
) -> Model:
    """FULLY_CONNECTED of float32 (*rows, depth) with (channels, depth)."""
    draw, builder = Draw(seed, style), Builder()
    x = builder.tensor((*rows, depth), "float32")
    w = weights(builder, draw, (channels, depth), dtype, 0 if per_channel else None)
    b = _bias(builder, draw, channels) if bias else -1
    kept = tuple(rows) if keep_dims else (int(np.prod(rows)),)
    y = builder.tensor((*kept, channels), "float32")
    builder.op(
        "FULLY_CONNECTED",
        [x, w, b],
        [y],
        options(
            "FullyConnected",
            fusedActivationFunction=activation_of(activation),
            keepNumDims=keep_dims,
            asymmetricQuantizeInputs=asymmetric,
        ),
        version=9,
    )
    name = f"fc-hybrid-{dtype}-{'x'.join(map(str, rows))}x{depth}-c{channels}"
    name += f"-{'pc' if per_channel else 'pt'}-{'a' if asymmetric else 's'}-{activation}-{seed}"
    return model(name, builder, [x], [y])


def conv(
    seed: int = 0,
    *,
    op: str = "CONV_2D",
    shape: tuple[int, int, int, int] = (1, 7, 6, 8),
    channels: int = 8,
    groups: int = 1,
    kernel: Pair = (3, 3),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: str = "SAME",
    dtype: str = "int8",
    per_channel: bool = True,
    activation: str = "NONE",
    style: Style = "random",
) -> Model:
    """CONV_2D or DEPTHWISE_CONV_2D (`channels` a multiple of the input's) of float32 NHWC."""
    draw, builder = Draw(seed, style), Builder()
    x = builder.tensor(shape, "float32")
    deep = op == "DEPTHWISE_CONV_2D"
    filters = (1, *kernel, channels) if deep else (channels, *kernel, shape[3] // groups)
    w = weights(builder, draw, filters, dtype, (3 if deep else 0) if per_channel else None)
    hw = [output_length(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1)]
    y = builder.tensor((shape[0], *hw, channels), "float32")
    chosen: dict[str, Any] = {"depthMultiplier": channels // shape[3]} if deep else {}
    builder.op(
        op,
        [x, w, _bias(builder, draw, channels)],
        [y],
        options(
            "DepthwiseConv2D" if deep else "Conv2D",
            padding=enum("Padding", padding),
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            fusedActivationFunction=activation_of(activation),
            **chosen,
        ),
        version=5,
    )
    name = f"{op}-hybrid-{dtype}-{'x'.join(map(str, shape))}-c{channels}-k{kernel}-s{stride}"
    name += f"-d{dilation}-{padding}-g{groups}-{'pc' if per_channel else 'pt'}-{activation}-{seed}"
    return model(name, builder, [x], [y])


def transpose_conv(
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 4, 5, 5),
    channels: int = 8,
    kernel: Pair = (3, 3),
    stride: Pair = (2, 2),
    padding: str = "SAME",
    per_channel: bool = True,
    activation: str = "NONE",
    style: Style = "random",
    bias: bool = True,
) -> Model:
    """TRANSPOSE_CONV of float32 NHWC by int8."""
    draw, builder = Draw(seed, style), Builder()
    same = padding == "SAME"
    hw = [
        shape[1 + i] * stride[i] if same else (shape[1 + i] - 1) * stride[i] + kernel[i]
        for i in (0, 1)
    ]
    size = builder.constant((shape[0], *hw, channels), "int32")
    x = builder.tensor(shape, "float32")
    filters = (channels, *kernel, shape[3])
    w = weights(builder, draw, filters, "int8", 0 if per_channel else None)
    y = builder.tensor((shape[0], *hw, channels), "float32")
    builder.op(
        "TRANSPOSE_CONV",
        [size, w, x, *([_bias(builder, draw, channels)] if bias else [])],
        [y],
        options(
            "TransposeConv",
            padding=enum("Padding", padding),
            strideH=stride[0],
            strideW=stride[1],
            fusedActivationFunction=activation_of(activation),
        ),
        version=4,
    )
    name = f"transposeconv-hybrid-{'x'.join(map(str, shape))}-c{channels}-k{kernel}-s{stride}"
    return model(f"{name}-{padding}-{activation}-{style}-{seed}", builder, [x], [y])
