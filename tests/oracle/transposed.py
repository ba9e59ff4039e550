"""Small models with one TRANSPOSE_CONV."""

from tests.oracle.build import Builder, options
from tests.oracle.models import (
    Draw,
    Model,
    Pair,
    Style,
    enum,
    granularity,
    model,
    weighted_tensors,
)


def transpose_conv(
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 4, 5, 5),
    channels: int = 8,
    kernel: Pair = (3, 3),
    stride: Pair = (2, 2),
    padding: str = "SAME",
    dtype: str = "int8",
    per_channel: bool = True,
    style: Style = "random",
    bias: bool = True,
    narrow: bool = False,
) -> Model:
    """TRANSPOSE_CONV; `shape` is the NHWC input."""
    draw, builder = Draw(seed, style), Builder()
    wtype = "uint8" if dtype == "uint8" else "int8"
    filters = draw.weights(
        (channels, *kernel, shape[3]), wtype, channels, 0, per_channel and wtype == "int8"
    )
    depth = max(1, kernel[0] * kernel[1] * shape[3] // (stride[0] * stride[1]))
    hw = [
        shape[1 + i] * stride[i]
        if padding == "SAME"
        else (shape[1 + i] - 1) * stride[i] + kernel[i]
        for i in (0, 1)
    ]
    out_shape = (shape[0], *hw, channels)
    size = builder.constant(out_shape, "int32")
    inputs, out = weighted_tensors(
        builder,
        draw,
        shapes=(shape, out_shape),
        weights=filters,
        depth=depth,
        dtype=dtype,
        bias=bias,
        narrow=narrow,
    )
    builder.op(
        "TRANSPOSE_CONV",
        [size, inputs[1], inputs[0], *inputs[2:]],
        [out],
        options(
            "TransposeConv",
            quantizedBiasType=enum("TensorType", "INT32") if narrow else 0,
            padding=enum("Padding", padding),
            strideH=stride[0],
            strideW=stride[1],
        ),
    )
    name = f"transposeconv-{dtype}-{'x'.join(map(str, shape))}-c{channels}-k{kernel}-s{stride}"
    name += f"-{padding}-{granularity(per_channel, dtype)}-{style}-{seed}"
    return model(name, builder, inputs[:1], [out])
