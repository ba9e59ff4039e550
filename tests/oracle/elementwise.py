"""Makers of single-op models without weights: element-wise, pools, reductions, layout."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.oracle.build import Builder, options, per_tensor
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

_BINARY_OPTIONS = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul"}


def binary(
    op: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 5, 6, 7),
    other: Sequence[int] | None = None,
    dtype: str = "int8",
    activation: str = "NONE",
    style: Style = "random",
    constant: bool = False,
) -> Model:
    """ADD, SUB, MUL, MINIMUM, MAXIMUM, SQUARED_DIFFERENCE of two tensors, the second may
    broadcast or be a constant. MINIMUM and MAXIMUM share one scale, as the runtime demands."""
    draw, builder = Draw(seed, style), Builder()
    second = tuple(shape if other is None else other)
    q1 = draw.quant(dtype)
    assert q1 is not None
    same = op in ("MINIMUM", "MAXIMUM")
    q2 = q1 if same else draw.quant(dtype, draw.near(q1.scale[0]))
    assert q2 is not None
    levels = 16000 if dtype == "int16" else 64
    if op in ("MUL", "SQUARED_DIFFERENCE"):
        raw = q1.scale[0] * q2.scale[0] * levels
    else:
        raw = q1.scale[0] + q2.scale[0]
    q3 = q1 if same else draw.quant(dtype, draw.scale(raw * 0.5, raw * 1.5))
    a = builder.tensor(shape, dtype, q1)
    limits = np.iinfo(dtype)
    if constant:
        values = draw.rng.integers(limits.min, limits.max, second, dtype, endpoint=True)
        b = builder.constant(values, dtype, q2)
    else:
        b = builder.tensor(second, dtype, q2)
    result = builder.tensor(np.broadcast_shapes(tuple(shape), second), dtype, q3)
    made = None
    if op in _BINARY_OPTIONS:
        fields: dict[str, Any] = {"fusedActivationFunction": activation_of(activation)}
        if op != "MUL":
            fields["potScaleInt16"] = False
        made = options(_BINARY_OPTIONS[op], **fields)
    builder.op(op, [a, b], [result], made)
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-{'x'.join(map(str, second))}"
    name += f"-{activation}-{style}-{seed}{'-const' if constant else ''}"
    return model(name, builder, [a] if constant else [a, b], [result])


def product(
    seed: int = 0,
    *,
    shape: Sequence[int],
    other: Sequence[int],
    dtype: str = "int8",
    output: str = "",
    multiplier: float = 1.0,
    activation: str = "NONE",
) -> Model:
    """MUL whose scales come to `multiplier`; `output`: the result's dtype where it differs."""
    draw, builder = Draw(seed, "random"), Builder()
    scale = draw.scale()
    a = builder.tensor(shape, dtype, draw.quant(dtype))
    b = builder.tensor(other, dtype, draw.quant(dtype, scale))
    first = float(builder.tensors[a].quantization.scale[0])
    result = draw.quant(output or dtype, first * scale / multiplier)
    y = builder.tensor(np.broadcast_shapes(tuple(shape), tuple(other)), output or dtype, result)
    builder.op(
        "MUL", [a, b], [y], options("Mul", fusedActivationFunction=activation_of(activation))
    )
    name = f"mul-{dtype}-{output}-{'x'.join(map(str, shape))}-{'x'.join(map(str, other))}"
    return model(f"{name}-{multiplier:g}-{activation}-{seed}", builder, [a, b], [y])


def powers_of_two(
    op: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 5, 6, 7),
    shifts: Pair = (0, 2),
    activation: str = "NONE",
) -> Model:
    """ADD or SUB of int16 whose scales are powers of two; `shifts` of the inputs to the right."""
    builder, power = Builder(), int(np.random.default_rng(seed).integers(-14, -6))
    scales = [2.0 ** (power - shift) for shift in (*shifts, 0)]
    a, b, result = (builder.tensor(shape, "int16", per_tensor(scale)) for scale in scales)
    made = options(
        _BINARY_OPTIONS[op],
        fusedActivationFunction=activation_of(activation),
        potScaleInt16=True,
    )
    builder.op(op, [a, b], [result], made)
    name = f"{op.lower()}-pot-{'x'.join(map(str, shape))}-{shifts}-{activation}-{seed}"
    return model(name, builder, [a, b], [result])


_FIXED_OUTPUT = {  # the runtime demands these output parameters (scale, zero point)
    "LOGISTIC": {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0)},
    "TANH": {"int8": (1 / 128, 0), "uint8": (1 / 128, 128), "int16": (1 / 32768, 0)},
    "SOFTMAX": {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0)},
    "LOG_SOFTMAX": {"int8": (16 / 256, 127), "uint8": (16 / 256, 255)},
    "L2_NORMALIZATION": {"int8": (1 / 128, 0), "uint8": (1 / 128, 128)},
}


def unary(
    op: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 5, 6, 7),
    dtype: str = "int8",
    style: Style = "random",
    op_options: Any = None,
    same_quant: bool = False,
    input_scale: float | None = None,
) -> Model:
    """An op of one tensor that keeps the shape: LOGISTIC, TANH, SOFTMAX, RELU…, HARD_SWISH, …"""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype, input_scale)
    assert q is not None
    fixed = _FIXED_OUTPUT.get(op, {}).get(dtype)
    if same_quant:
        q_out = q
    elif fixed is not None:
        q_out = per_tensor(*fixed)
    else:
        chosen = draw.coarser(q.scale[0])
        made = draw.quant(dtype, chosen)
        assert made is not None
        q_out = made
    a = builder.tensor(shape, dtype, q)
    result = builder.tensor(shape, dtype, q_out)
    builder.op(op, [a], [result], op_options)
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-{style}-{seed}"
    return model(name, builder, [a], [result])


def softmax(seed: int = 0, *, beta: float = 1.0, **rest: Any) -> Model:
    """SOFTMAX over the last axis."""
    return unary("SOFTMAX", seed, op_options=options("Softmax", beta=beta), **rest)


def leaky_relu(seed: int = 0, *, alpha: float = 0.1, **rest: Any) -> Model:
    """LEAKY_RELU."""
    return unary("LEAKY_RELU", seed, op_options=options("LeakyRelu", alpha=alpha), **rest)


def pool(
    op: str,
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 7, 6, 5),
    kernel: Pair = (2, 3),
    stride: Pair = (2, 2),
    padding: str = "SAME",
    dtype: str = "int8",
    activation: str = "NONE",
    style: Style = "random",
) -> Model:
    """AVERAGE_POOL_2D or MAX_POOL_2D; input and output share the parameters."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype)
    hw = [output_length(shape[1 + i], kernel[i], stride[i], 1, padding) for i in (0, 1)]
    a = builder.tensor(shape, dtype, q)
    result = builder.tensor((shape[0], *hw, shape[3]), dtype, q)
    made = options(
        "Pool2D",
        padding=enum("Padding", padding),
        strideH=stride[0],
        strideW=stride[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=activation_of(activation),
    )
    builder.op(op, [a], [result], made)
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-k{kernel}-s{stride}-{padding}"
    return model(f"{name}-{activation}-{style}-{seed}", builder, [a], [result])


def reduce(
    op: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 7, 6, 5),
    axes: Sequence[int] = (1, 2),
    keep_dims: bool = False,
    dtype: str = "int8",
    style: Style = "random",
    same_quant: bool = False,
) -> Model:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN over `axes`."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype, centred=True)
    assert q is not None
    count = int(np.prod([shape[axis] for axis in axes]))
    if same_quant or op.startswith("REDUCE"):
        q_out = q
    else:
        raw = q.scale[0] * (2 * np.sqrt(count) if op == "SUM" else 2 / np.sqrt(count))
        near = draw.near(min(float(raw), q.scale[0]) if op == "MEAN" else raw)
        made = draw.quant(dtype, near, centred=True)
        assert made is not None
        q_out = made
    gone = {axis % len(shape) for axis in axes}
    kept = [1 if i in gone else n for i, n in enumerate(shape) if keep_dims or i not in gone]
    a = builder.tensor(shape, dtype, q)
    axis = builder.constant(list(axes), "int32")
    result = builder.tensor(kept, dtype, q_out)
    builder.op(op, [a, axis], [result], options("Reducer", keepDims=keep_dims))
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-axes{tuple(axes)}"
    return model(f"{name}-{'keep-' if keep_dims else ''}{style}-{seed}", builder, [a], [result])


def quantize(
    source: str,
    target: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (3, 17),
    style: Style = "random",
) -> Model:
    """QUANTIZE from float or between integers; DEQUANTIZE when `target` is float32."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(source)
    base = q.scale[0] if q is not None else 4 / 100
    # The same real range on both sides: a step of int16 is a 256th of one of 8 bits.
    ratio = (1 / 256 if target == "int16" else 1.0) * (256 if source == "int16" else 1)
    a = builder.tensor(shape, source, q)
    q_out = draw.quant(target, draw.coarser(base * ratio))
    result = builder.tensor(shape, target, q_out)
    op = "DEQUANTIZE" if target == "float32" else "QUANTIZE"
    builder.op(op, [a], [result], options("Dequantize" if target == "float32" else "Quantize"))
    name = f"{op.lower()}-{source}-{target}-{'x'.join(map(str, shape))}-{style}-{seed}"
    made = model(name, builder, [a], [result])
    if source == "float32" and q_out is not None:
        made = replace(made, inputs=(replace(made.inputs[0], step=q_out.scale[0]),))
    return made


def pad(
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 4, 5, 3),
    pads: Sequence[Pair] = ((0, 0), (1, 2), (0, 3), (0, 0)),
    dtype: str = "int8",
    style: Style = "random",
) -> Model:
    """PAD with the zero point."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype)
    a = builder.tensor(shape, dtype, q)
    widths = builder.constant([list(pair) for pair in pads], "int32")
    grown = [n + sum(pair) for n, pair in zip(shape, pads, strict=True)]
    result = builder.tensor(grown, dtype, q)
    builder.op("PAD", [a, widths], [result], options("Pad"))
    return model(f"pad-{dtype}-{'x'.join(map(str, shape))}-{seed}", builder, [a], [result])


def concatenation(
    seed: int = 0,
    *,
    shapes: Sequence[Sequence[int]] = ((1, 3, 4, 5), (1, 3, 4, 2)),
    axis: int = 3,
    dtype: str = "int8",
    style: Style = "random",
    same_quant: bool = True,
) -> Model:
    """CONCATENATION; int8 inputs share the output's parameters, uint8 ones need not."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype)
    assert q is not None
    inputs = []
    for shape in shapes:
        own = q if same_quant else draw.quant(dtype, draw.near(q.scale[0]))
        inputs.append(builder.tensor(shape, dtype, own))
    grown = list(shapes[0])
    grown[axis] = sum(shape[axis] for shape in shapes)
    result = builder.tensor(grown, dtype, q)
    builder.op(
        "CONCATENATION",
        inputs,
        [result],
        options("Concatenation", axis=axis, fusedActivationFunction=0),
    )
    name = f"concatenation-{dtype}-axis{axis}-{len(shapes)}-{same_quant}-{style}-{seed}"
    return model(name, builder, inputs, [result])


def reshape(
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 4, 5, 3),
    target: Sequence[int] = (1, 60),
    dtype: str = "int8",
) -> Model:
    """RESHAPE with a constant shape."""
    draw, builder = Draw(seed, "random"), Builder()
    q = draw.quant(dtype)
    a = builder.tensor(shape, dtype, q)
    wanted = builder.constant(list(target), "int32")
    result = builder.tensor(target, dtype, q)
    builder.op("RESHAPE", [a, wanted], [result], options("Reshape", newShape=list(target)))
    return model(f"reshape-{dtype}-{seed}", builder, [a], [result])


def resize(
    op: str,
    seed: int = 0,
    *,
    shape: tuple[int, int, int, int] = (1, 4, 5, 3),
    size: Pair = (7, 9),
    align_corners: bool = False,
    half_pixel: bool = False,
    dtype: str = "int8",
) -> Model:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR to a constant size."""
    draw, builder = Draw(seed, "random"), Builder()
    q = draw.quant(dtype)
    a = builder.tensor(shape, dtype, q)
    wanted = builder.constant(list(size), "int32")
    result = builder.tensor((shape[0], *size, shape[3]), dtype, q)
    kind = "ResizeBilinear" if op == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
    made = options(kind, alignCorners=align_corners, halfPixelCenters=half_pixel)
    builder.op(op, [a, wanted], [result], made)
    name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-{size}"
    return model(f"{name}-a{align_corners}-h{half_pixel}-{seed}", builder, [a], [result])
