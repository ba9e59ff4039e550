"""FULLY_CONNECTED: the sums of products, exact in float64 as in `ops.conv`."""

from dataclasses import replace

import numpy as np

from harness.arithmetic.fixed_point import wrap_int32
from harness.arithmetic.requantize import requantize
from harness.emulator.definitions import (
    ACCUMULATORS,
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
)
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import Products, define_accumulating, requantization

OF_28_BITS = "S5:single-of-28-bits"


def output_shape(call: Call) -> tuple[int, ...]:
    """(rows, units), or the input's leading dimensions kept.

    Source: LiteRT kernels/fully_connected.cc, UpdateOutputSize.
    """
    weights, shape = call.input(1).shape, call.input(0).shape
    if call.node.options.get("weights_format", "DEFAULT") != "DEFAULT":
        raise NoDefinition("its weights are shuffled")
    elements = 1
    for dimension in shape:
        elements *= dimension
    if len(weights) != 2 or not weights[1] or elements % weights[1]:
        raise CannotRun(f"weights of shape {list(weights)} on an input of shape {list(shape)}")
    if call.node.options.get("keep_num_dims"):
        if shape[-1] != weights[1]:
            raise CannotRun(f"the last dimension is {shape[-1]}, allowed: {weights[1]}")
        return (*shape[:-1], weights[0])
    return (elements // weights[1], weights[0])


def bind_fully_connected(call: Call) -> Products:
    """Products of FULLY_CONNECTED: weights (units, depth)."""
    shape, depth = output_shape(call), call.input(1).shape[1]

    def products(x: Array, w: Array) -> Array:
        return (x.reshape(-1, depth) @ w.T).reshape(shape)

    return products


OUTPUT_SHAPES["FULLY_CONNECTED"] = output_shape
define_accumulating("FULLY_CONNECTED", bind_fully_connected, axis=0)


@define(["FULLY_CONNECTED"], [OF_28_BITS])
def bind_of_28_bits(call: Call) -> Run:
    """S5 of sums that wrap at 28 bits: the kernel holds 16 times each sum in 32 bits.

    Source: XNNPACK src/qs8-qc4w-gemm, scalar and aarch64 neondot; src/reference/packing.cc.
    """
    plain = replace(call, semantics="S5:single")
    accumulate, parameters = ACCUMULATORS["FULLY_CONNECTED"](plain), requantization(plain)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        acc = wrap_int32(accumulate(values).astype(np.int64) << 4) >> 4
        return (requantize(acc, parameters).astype(dtype),)

    return run


def of_any_bits(call: Call) -> Call:
    """The node under S5 alone where no sum of its constants leaves 28 bits; else as it is."""
    weights, bias = call.input(1).data, call.optional(2)
    if call.semantics != OF_28_BITS or weights is None:
        return call
    largest = 255 * np.abs(weights.astype(np.int64)).sum(axis=1)
    if bias is not None and bias.data is not None:
        largest = largest + np.abs(bias.data.astype(np.int64))
    fits = largest.max(initial=0) < 1 << 27
    return replace(call, semantics="S5:single") if fits else call
