"""Ops that move values and compute none; every runtime agrees on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.arithmetic.fixed_point import round_half_away
from harness.arithmetic.float_steps import fused_multiply_add
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.formats.tflite import MAX_ELEMENTS, stored_dtype
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.windows import surround

MOVE = "move"


def check_size(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, when its elements may be allocated."""
    elements = 1
    for dimension in shape:
        elements *= int(dimension)
    if elements > MAX_ELEMENTS or any(d < 0 for d in shape):
        raise CannotRun(f"a result of shape {list(shape)}, allowed: {MAX_ELEMENTS} elements")
    return tuple(int(d) for d in shape)


def integers(values: Values, index: int) -> list[int]:
    """A small integer input as a list."""
    value = required(values[index])
    if value.dtype.kind not in "iu" or value.size > MAX_ELEMENTS:
        raise CannotRun(f"input {index} is {value.dtype}, allowed: int32 or int64")
    return [int(v) for v in value.reshape(-1)]


_PACKED_LIMITS = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1)}


def output_dtype(tensor: Tensor) -> np.dtype[Any]:
    """The dtype that holds a tensor's values; raises NoDefinition when there is none."""
    stored = stored_dtype(tensor.dtype)
    if stored is None:
        raise NoDefinition(f"tensor {tensor.index} ({tensor.name!r}) is {tensor.dtype}")
    return stored


def integer_limits(tensor: Tensor) -> tuple[int, int]:
    """The lowest and highest value of an integer dtype; NoDefinition where numpy has no form."""
    if tensor.dtype in _PACKED_LIMITS:
        return _PACKED_LIMITS[tensor.dtype]
    limits = np.iinfo(output_dtype(tensor))
    return int(limits.min), int(limits.max)


def same_quantization(tensors: Sequence[Tensor | None]) -> None:
    """Moving is copying only while the quantization stays."""
    found = {
        (tuple(t.quantization.scales.tolist()), tuple(t.quantization.zero_points.tolist()))
        for t in tensors
        if t is not None and t.quantization is not None
    }
    if len(found) > 1:
        raise NoDefinition("its input and output are quantized differently")


@define(["RESHAPE", "SQUEEZE", "EXPAND_DIMS"], [MOVE])
def bind_reshape(call: Call) -> Run:
    """The same values in another shape."""
    same_quantization([call.inputs[0], call.output])
    options = call.node.options

    def target(values: Values, x: Array) -> list[int]:
        if call.node.op == "SQUEEZE":
            squeezed = {int(d) % x.ndim for d in options.get("squeeze_dims") or ()}
            return [
                d
                for axis, d in enumerate(x.shape)
                if not (axis in squeezed or (not squeezed and d == 1))
            ]
        if call.node.op == "EXPAND_DIMS":
            axis = integers(values, 1)[0]
            return list(np.expand_dims(x, axis).shape)
        if len(values) > 1:
            return integers(values, 1)
        return list(options.get("new_shape") or ())

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        return (x.reshape(target(values, x)),)

    return run


@define(["TRANSPOSE"], [MOVE])
def bind_transpose(call: Call) -> Run:
    """Axes in another order."""
    same_quantization([call.inputs[0], call.output])
    return lambda values: (
        np.ascontiguousarray(np.transpose(required(values[0]), integers(values, 1))),
    )


@define(["PAD", "PADV2"], [MOVE])
def bind_pad(call: Call) -> Run:
    """A border of the zero point, or of the third input's value.

    Source: LiteRT kernels/pad.cc, Eval.
    """
    same_quantization([call.inputs[0], call.output])
    found = call.output.quantization
    zero = int(found.zero_points[0]) if found is not None else 0

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        flat = integers(values, 1)
        widths = list(zip(flat[::2], flat[1::2], strict=True))
        if len(widths) != x.ndim or min(flat, default=0) < 0:
            raise CannotRun(f"paddings {widths} on {x.ndim} dimensions")
        check_size([d + b + a for d, (b, a) in zip(x.shape, widths, strict=True)])
        fill = values[2].reshape(-1)[0] if len(values) > 2 and values[2] is not None else zero
        return (surround(x, widths, fill),)

    return run


@define(["CONCATENATION"], [MOVE])
def bind_concatenation(call: Call) -> Run:
    """Inputs one after the other along an axis."""
    if call.node.options.get("fused_activation_function", "NONE") != "NONE":
        raise NoDefinition("it has a fused activation")
    same_quantization([*call.inputs, call.output])
    axis = int(call.node.options.get("axis", 0))
    return lambda values: (np.concatenate([required(v) for v in values], axis=axis),)


@define(["CONCATENATION"], ["rescaled", "rescaled-fused"])
def bind_rescaled_concatenation(call: Call) -> Run:
    """Inputs quantized unlike the output: ``round(x * t + (-z_x) * t) + z_y``, ties away, with
    ``t = s_x * (1 / s_y)``, in float32; "fused" where the compiler rounds a product and its sum
    once (aarch64).

    Source: LiteRT kernels/internal/reference/concatenation.h, ConcatenationWithScaling.
    """
    s_y, z_y = scale_and_zero_point(call.output)
    inverse = np.float32(1) / np.float32(s_y)
    fused = call.semantics.endswith("fused")
    dtype = output_dtype(call.output)
    limits = np.iinfo(dtype)
    axis = int(call.node.options.get("axis", 0))

    def rescale(value: Array, tensor: Tensor) -> Array:
        s_x, z_x = scale_and_zero_point(tensor)
        if (s_x, z_x) == (s_y, z_y):
            return value
        scale = np.float32(s_x) * inverse
        bias = np.float32(-z_x) * scale
        x = value.astype(np.float32)
        real = x * scale + bias
        if fused:
            real = fused_multiply_add(x, np.full_like(x, scale), np.full_like(x, bias))
        y = round_half_away(real).astype(np.int64) + z_y
        return np.asarray(np.clip(y, limits.min, limits.max).astype(dtype))

    tensors = [call.input(i) for i in range(len(call.inputs))]
    return lambda values: (
        np.concatenate(
            [rescale(required(v), t) for v, t in zip(values, tensors, strict=True)], axis=axis
        ),
    )


@define(["PACK"], [MOVE])
def bind_pack(call: Call) -> Run:
    """Inputs stacked along a new axis."""
    same_quantization([*call.inputs, call.output])
    axis = int(call.node.options.get("axis", 0))
    return lambda values: (np.stack([required(v) for v in values], axis=axis),)


@define(["UNPACK"], [MOVE])
def bind_unpack(call: Call) -> Run:
    """Slices along an axis, which disappears."""
    same_quantization([call.inputs[0], *call.outputs])
    axis = int(call.node.options.get("axis", 0))

    def run(values: Values) -> tuple[Array, ...]:
        return tuple(np.array(p) for p in np.moveaxis(required(values[0]), axis, 0))

    return run


@define(["SHAPE"], [MOVE])
def bind_shape(call: Call) -> Run:
    """The input's shape, as integers."""
    dtype = output_dtype(call.output)
    return lambda values: (np.asarray(required(values[0]).shape, dtype),)


@define(["RANK"], [MOVE])
def bind_rank(call: Call) -> Run:
    """How many dimensions the input has."""
    dtype = output_dtype(call.output)
    return lambda values: (np.asarray(required(values[0]).ndim, dtype),)
