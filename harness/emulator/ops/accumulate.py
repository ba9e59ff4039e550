"""Ops that accumulate and requantize: convolution, depthwise convolution, fully connected.

Each computes ``acc = sum((x_q - z_x) * (w_q - z_w)) + b_q`` in an int32 that wraps as the machine's
does (int64 for int16 activations); which of S1 to S8 turns it into the output is the profile's word
(`harness.arithmetic`). The float form sums in float32, in BLAS's order.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from harness.arithmetic.fixed_point import wrap_int32
from harness.arithmetic.requantize import (
    MULTIPLIERS,
    ROUNDINGS,
    Requantization,
    make_requantization,
    requantize,
)
from harness.emulator.definitions import (
    ACCUMULATORS,
    Accumulate,
    Bind,
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    quantization,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.clamp import clamp_float, fused_activation, fused_clamp

SEMANTICS = tuple(f"{r}:{m}" for r, m in product(ROUNDINGS, MULTIPLIERS))

Products = Callable[[Array, Array], Array]
"""From ``x_q - z_x`` and ``w_q - z_w`` (float64, integral) to the sums of products (float64)."""


def rearrange(call: Call, places: tuple[int, int, int]) -> Call:
    """The call with image, weights and bias as its inputs, found at these places."""
    return replace(call, inputs=tuple(call.optional(place) for place in places))


def pick(values: Values, places: tuple[int, int, int]) -> Values:
    """The values of image, weights and bias; None where there is none."""
    return [values[place] if place < len(values) else None for place in places]


def define_accumulating(
    op: str,
    bind_products: Callable[[Call], Products],
    axis: int,
    places: tuple[int, int, int] = (0, 1, 2),
) -> None:
    """Enter an op under every requantization, and its accumulators.

    Args:
        op: the operator.
        bind_products: prepares its sums of products for a call.
        axis: of the output channels in the weights.
        places: of the image, the weights and the bias among the inputs.
    """

    def accumulators(node_call: Call) -> Accumulate:
        products, call = bind_products(node_call), rearrange(node_call, places)
        x_zero = scale_and_zero_point(call.input(0))[1]
        w_zero = weight_zero_point(call.input(1), axis)
        check_bias(call, call.input(1).shape[axis])
        wide = has_wide_accumulators(call)
        constant = call.input(1).data
        prepared = None if constant is None else constant.astype(np.float64) - w_zero

        def accumulate(values: Values) -> Array:
            image, weights, bias = pick(values, places)
            x = required(image).astype(np.float64) - x_zero
            w = prepared
            if w is None:
                w = required(weights).astype(np.float64) - w_zero
            sums = products(x, w).astype(np.int64)
            total = sums if bias is None else sums + bias
            return total if wide else wrap_int32(total)

        return accumulate

    def bind(call: Call) -> Run:
        accumulate, parameters = accumulators(call), requantization(rearrange(call, places))
        dtype = numpy_dtype(call.output)
        return lambda values: (requantize(accumulate(values), parameters).astype(dtype),)

    def bind_float(call: Call) -> Run:
        products, activation = bind_products(call), fused_activation(call)

        def run(values: Values) -> tuple[Array]:
            image, weights, bias = pick(values, places)
            y = products(required(image), required(weights))
            if bias is not None:
                y = y + bias
            return (clamp_float(y, activation),)

        return run

    ACCUMULATORS[op] = accumulators
    typed: Bind = bind
    define([op], SEMANTICS)(typed)
    typed = bind_float
    define([op], ["float"])(typed)


def requantization(call: Call) -> Requantization:
    """The node's requantization parameters under its semantics."""
    if call.semantics not in SEMANTICS:
        raise NoDefinition(f"{call.semantics!r} is not one requantization for all channels")
    s_x, _ = scale_and_zero_point(call.input(0))
    s_y, z_y = scale_and_zero_point(call.output)
    if s_y == 0:
        raise NoDefinition("its output has scale 0")
    scales = (s_x, quantization(call.input(1)).scales, s_y)
    return make_requantization(call.semantics, scales, z_y, fused_clamp(call))


def has_wide_accumulators(call: Call) -> bool:
    """Whether sums are int64: int16 activations, unless the bias is, or would be, int32.

    Without a bias the kernels that round with S4 or S8 sum as if it were int64.
    """
    bias = call.optional(2)
    if bias is not None:
        return call.input(0).dtype == "int16" and bias.dtype == "int64"
    declared = call.node.options.get("quantized_bias_type") != "int32"
    return call.input(0).dtype == "int16" and declared and call.semantics[:2] in {"S4", "S8"}


def check_bias(call: Call, channels: int) -> None:
    """A bias, where there is one, is of the accumulators' dtype, one value a channel."""
    bias = call.optional(2)
    if bias is None:
        return
    if bias.dtype != ("int64" if has_wide_accumulators(call) else "int32"):
        raise NoDefinition(f"its bias is {bias.dtype} on {call.input(0).dtype} activations")
    if bias.shape != (channels,):
        raise ValueError(f"bias of shape {list(bias.shape)}, allowed: [{channels}]")


def weight_zero_point(weights: Tensor, axis: int) -> int:
    """The weights' zero point; per-channel weights are symmetric, by the specification."""
    found = quantization(weights)
    if len(found.scales) == 1:
        return int(found.zero_points[0])
    if found.axis % len(weights.shape) != axis % len(weights.shape):
        raise NoDefinition(f"its weights are quantized along axis {found.axis}, not {axis}")
    if np.any(found.zero_points):
        raise NoDefinition("its per-channel weights have zero points")
    return 0
