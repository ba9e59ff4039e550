"""FULLY_CONNECTED: the sums of products, exact in float64 as in `ops.conv`."""

from harness.emulator.definitions import OUTPUT_SHAPES, Call, CannotRun, NoDefinition
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import Products, define_accumulating


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
