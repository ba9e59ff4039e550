"""Small quantized models with one op each, random by seed, to judge one kernel at a time.

Every maker returns a `Model`. Scales come in three styles: "random"; "dyadic" (powers of two: the
requantized value then often lies exactly between two integers, where the semantics differ most);
"wide" (ratios far from one, up to where runtimes take other kernels or saturate).

Ops with a bias have two more, which show in full when every input element is its zero point, so
that the accumulator is the bias: "sharp" (small multipliers; the accumulators lie between the ties
of multipliers made in different precisions) and "ties" (dyadic, on ties and beside them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.oracle.build import Array, Builder, Quant, options, per_tensor

Style = Literal["random", "dyadic", "wide", "sharp", "ties"]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Input:
    shape: tuple[int, ...]
    dtype: str
    zero_point: int = 0
    low: float = -4.0
    high: float = 4.0
    step: float = 0.0
    """Of floats: when given, every second one lies between two multiples of it."""


@dataclass(frozen=True)
class Model:
    """A generated file and what it takes."""

    name: str
    data: bytes
    inputs: tuple[Input, ...]

    def sample(self, seed: int) -> tuple[Array, ...]:
        """Uniform over the dtype; floats over the input's range."""
        rng = np.random.default_rng(seed)
        return tuple(_uniform(rng, spec) for spec in self.inputs)

    def extremes(self) -> list[tuple[Array, ...]]:
        """All lowest, all highest, all zero point."""

        def fill(spec: Input, kind: int) -> Array:
            if spec.dtype in ("float32", "float16"):
                low, high = spec.low, spec.high
            elif spec.dtype == "bool":
                low, high = 0, 1
            else:
                limits = np.iinfo(spec.dtype)
                low, high = limits.min, limits.max
            return np.full(spec.shape, (low, high, spec.zero_point)[kind], spec.dtype)

        return [tuple(fill(spec, kind) for spec in self.inputs) for kind in range(3)]


def _uniform(rng: np.random.Generator, spec: Input) -> Array:
    if spec.dtype == "float16":
        return rng.uniform(spec.low, spec.high, spec.shape).astype(np.float16)
    if spec.dtype == "float32":
        x = rng.uniform(spec.low, spec.high, spec.shape).astype(np.float32)
        if spec.step:
            step = np.float32(spec.step)
            between = (np.floor(x / step) + np.float32(0.5)) * step
            x = np.where(rng.integers(0, 2, x.shape) == 0, between, x)
        return x
    if spec.dtype == "bool":
        return rng.integers(0, 2, spec.shape).astype(np.bool_)
    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)


class Draw:
    """Random quantization parameters and weights from one seed and style."""

    def __init__(self, seed: int, style: Style) -> None:
        self.rng = np.random.default_rng(seed)
        self.style = style

    def scale(self, low: float = 2e-3, high: float = 0.2) -> float:
        exponent = self.rng.uniform(np.log2(low), np.log2(high))
        if self.style in ("dyadic", "ties"):
            exponent = np.round(exponent)
        elif self.style == "wide":
            exponent += self.rng.uniform(-5, 5)
        return float(2.0**exponent)

    def near(self, scale: float) -> float:
        """A scale between a third and three times this one."""
        return self.scale(scale / 3, scale * 3)

    def coarser(self, scale: float) -> float:
        """A scale from a third to ten times this one; four or eight times in the dyadic style,
        where the last bits that are rounded away hold many ties."""
        if self.style == "dyadic":
            return scale * float(self.rng.choice((4, 8)))
        return self.scale(scale / 3, scale * 10)

    def quant(
        self, dtype: str, scale: float | None = None, *, centred: bool = False
    ) -> Quant | None:
        """Per-tensor parameters of an activation; None for float. int16 is symmetric."""
        if dtype not in ("int8", "uint8", "int16"):
            return None
        limits = np.iinfo(dtype)
        low, high = limits.min, limits.max // 2
        if centred:
            low, high = (limits.min + limits.max) // 2 - 9, (limits.min + limits.max) // 2 + 9
        zero = 0 if dtype == "int16" else int(self.rng.integers(low, high))
        return per_tensor(self.scale() if scale is None else scale, zero)

    def weights(
        self, shape: Sequence[int], dtype: str, channels: int, axis: int, per_channel: bool
    ) -> tuple[Array, Quant]:
        """Weights and their parameters: symmetric, but for uint8."""
        if dtype == "uint8":
            values = self.rng.integers(0, 256, shape).astype(np.uint8)
            return values, per_tensor(self.scale(), int(self.rng.integers(100, 156)))
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        if not per_channel:
            return values, per_tensor(self.scale())
        base = self.scale()
        scales = tuple(float(np.float32(self.near(base))) for _ in range(channels))
        return values, Quant(scales, (0,) * channels, axis)

    def product_scale(self, s_in: float, w: Quant, depth: int) -> float:
        """An output scale that spreads depth products of random values over the output's range;
        a much larger one in the styles for biases."""
        product = s_in * float(np.mean(w.scale))
        if self.style in ("sharp", "ties"):
            scale = product / self.scale(2.0**-21, 2.0**-12)
            return float(2.0 ** np.round(np.log2(scale))) if self.style == "ties" else scale
        raw = product * 135.0 * np.sqrt(depth)
        return self.scale(raw * 0.7, raw * 1.4)

    def bias(
        self,
        channels: int,
        dtype: str,
        *,
        s_in: float,
        w: Quant,
        out: Quant,
        depth: int,
        narrow: bool = False,
    ) -> Array:
        """Bias values in units of ``s_in * w.scale``."""
        wide = 256 if dtype == "int16" else 1
        if self.style not in ("sharp", "ties"):
            spread = int(1600 * np.sqrt(depth) * wide)
            return self.rng.integers(-spread, spread + 1, channels)
        x, y = np.float32(s_in), np.float32(out.scale[0])
        scales = np.broadcast_to(np.array(w.scale, np.float32), channels)
        multipliers = np.stack(
            [
                np.float64(x) * scales.astype(np.float64) / np.float64(y),
                (x * scales).astype(np.float64) / np.float64(y),
                (x * scales / y).astype(np.float64),
            ]
        )
        middle = 128 if dtype == "uint8" else 0
        wanted = middle + self.rng.integers(-100, 100, channels) * wide + 0.5 - out.zero_point[0]
        ties = wanted / multipliers
        first, second = self.rng.integers(0, 3, (2, channels))
        every = np.arange(channels)
        between = (ties[first, every] + ties[second, every]) / 2
        beside = self.rng.integers(-1, 2, channels) * self.rng.integers(0, 2, channels)
        limit = 2**40 if dtype == "int16" and not narrow else 2**30
        return np.clip(np.rint(between) + beside, -limit, limit).astype(np.int64)


def enum(kind: str, name: str) -> int:
    """Value of an enumeration of the schema, e.g. ``enum("Padding", "SAME")``."""
    return int(getattr(getattr(schema, kind), name))


def activation_of(name: str) -> int:
    """Value of a fused activation, e.g. ``RELU6``."""
    return enum("ActivationFunctionType", name)


def output_length(length: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Length of a convolution's or pool's output along one axis."""
    reach = (kernel - 1) * dilation + 1
    return -(-length // stride) if padding == "SAME" else -(-(length - reach + 1) // stride)


def _spec(builder: Builder, index: int) -> Input:
    names = {
        value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()
    }
    tensor = builder.tensors[index]
    zero = tensor.quantization.zeroPoint[0] if tensor.quantization is not None else 0
    return Input(tuple(int(n) for n in tensor.shape), names[tensor.type], int(zero))


def model(name: str, builder: Builder, inputs: Sequence[int], outputs: Sequence[int]) -> Model:
    """Finish a builder into a `Model`."""
    specs = tuple(_spec(builder, index) for index in inputs)
    return Model(name, builder.finish(inputs, outputs), specs)


def granularity(per_channel: bool, dtype: str) -> str:
    return "pc" if per_channel and dtype != "uint8" else "pt"


def weighted_tensors(
    builder: Builder,
    draw: Draw,
    *,
    shapes: tuple[Sequence[int], Sequence[int]],
    weights: tuple[Array, Quant],
    depth: int,
    dtype: str,
    bias: bool,
    narrow: bool = False,
) -> tuple[list[int], int]:
    """Input, weights and bias of a convolution or FC, and the output; `shapes` of input, output.

    `narrow`: the bias of int16 activations is int32, not int64.
    """
    values, w = weights
    channels = shapes[1][-1]
    q = draw.quant(dtype)
    assert q is not None
    s_in = q.scale[0]
    out = draw.quant(dtype, draw.product_scale(s_in, w, depth))
    assert out is not None
    indices = [
        builder.tensor(shapes[0], dtype, q),
        builder.constant(values, str(values.dtype), w),
    ]
    if bias:
        data = draw.bias(channels, dtype, s_in=s_in, w=w, out=out, depth=depth, narrow=narrow)
        scales = tuple(float(np.float32(s_in) * np.float32(s)) for s in w.scale)
        kind = "int64" if dtype == "int16" and not narrow else "int32"
        indices.append(builder.constant(data, kind, Quant(scales, (0,) * len(scales), 0)))
    return indices, builder.tensor(shapes[1], dtype, out)


def conv(
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 7, 6, 5),
    channels: int = 8,
    kernel: Pair = (3, 3),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: str = "SAME",
    dtype: str = "int8",
    per_channel: bool = True,
    activation: str = "NONE",
    style: Style = "random",
    bias: bool = True,
    groups: int = 1,
    narrow: bool = False,
) -> Model:
    """CONV_2D; `shape` is NHWC. uint8 is always per-tensor."""
    draw, builder = Draw(seed, style), Builder()
    wtype = "uint8" if dtype == "uint8" else "int8"
    filters = draw.weights(
        (channels, *kernel, shape[3] // groups), wtype, channels, 0, per_channel and wtype == "int8"
    )
    depth = kernel[0] * kernel[1] * shape[3] // groups
    hw = [output_length(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1)]
    inputs, out = weighted_tensors(
        builder,
        draw,
        shapes=(shape, (shape[0], *hw, channels)),
        weights=filters,
        depth=depth,
        dtype=dtype,
        bias=bias,
        narrow=narrow,
    )
    builder.op(
        "CONV_2D",
        inputs,
        [out],
        options(
            "Conv2D",
            quantizedBiasType=enum("TensorType", "INT32") if narrow else 0,
            padding=enum("Padding", padding),
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            fusedActivationFunction=activation_of(activation),
        ),
    )
    name = f"conv-{dtype}-{'x'.join(map(str, shape))}-c{channels}-k{kernel}-s{stride}-d{dilation}"
    name += f"{f'-g{groups}' if groups > 1 else ''}-{padding}-{granularity(per_channel, dtype)}"
    name += f"-{activation}-{style}-{seed}"
    return model(name, builder, inputs[:1], [out])


def depthwise(
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 7, 6, 8),
    multiplier: int = 1,
    kernel: Pair = (3, 3),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: str = "SAME",
    dtype: str = "int8",
    per_channel: bool = True,
    activation: str = "NONE",
    style: Style = "random",
    bias: bool = True,
) -> Model:
    """DEPTHWISE_CONV_2D; `shape` is NHWC."""
    draw, builder = Draw(seed, style), Builder()
    channels = shape[3] * multiplier
    wtype = "uint8" if dtype == "uint8" else "int8"
    filters = draw.weights(
        (1, *kernel, channels), wtype, channels, 3, per_channel and wtype == "int8"
    )
    depth = kernel[0] * kernel[1]
    hw = [output_length(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in (0, 1)]
    inputs, out = weighted_tensors(
        builder,
        draw,
        shapes=(shape, (shape[0], *hw, channels)),
        weights=filters,
        depth=depth,
        dtype=dtype,
        bias=bias,
    )
    builder.op(
        "DEPTHWISE_CONV_2D",
        inputs,
        [out],
        options(
            "DepthwiseConv2D",
            padding=enum("Padding", padding),
            strideH=stride[0],
            strideW=stride[1],
            depthMultiplier=multiplier,
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            fusedActivationFunction=activation_of(activation),
        ),
    )
    name = f"depthwise-{dtype}-{'x'.join(map(str, shape))}-m{multiplier}-k{kernel}-s{stride}"
    name += f"-d{dilation}-{padding}-{granularity(per_channel, dtype)}-{activation}-{style}-{seed}"
    return model(name, builder, inputs[:1], [out])


def fully_connected(
    seed: int = 0,
    *,
    batch: int = 1,
    leading: Sequence[int] = (),
    depth: int = 16,
    channels: int = 8,
    dtype: str = "int8",
    per_channel: bool = False,
    activation: str = "NONE",
    style: Style = "random",
    bias: bool = True,
    keep_dims: bool = False,
    narrow: bool = False,
) -> Model:
    """FULLY_CONNECTED of (*leading, batch, depth) with (channels, depth)."""
    rows = (*leading, batch)
    draw, builder = Draw(seed, style), Builder()
    wtype = "uint8" if dtype == "uint8" else "int8"
    weights = draw.weights((channels, depth), wtype, channels, 0, per_channel and wtype == "int8")
    kept = rows if keep_dims else (int(np.prod(rows)),)
    inputs, out = weighted_tensors(
        builder,
        draw,
        shapes=((*rows, depth), (*kept, channels)),
        weights=weights,
        depth=depth,
        dtype=dtype,
        bias=bias,
        narrow=narrow,
    )
    builder.op(
        "FULLY_CONNECTED",
        inputs if bias else [*inputs, -1],
        [out],
        options(
            "FullyConnected",
            quantizedBiasType=enum("TensorType", "INT32") if narrow else 0,
            fusedActivationFunction=activation_of(activation),
            keepNumDims=keep_dims,
        ),
    )
    name = f"fc-{dtype}-{'x'.join(map(str, rows))}x{depth}-c{channels}"
    name += f"-{granularity(per_channel, dtype)}-{activation}-{style}-{seed}"
    return model(name, builder, inputs[:1], [out])
