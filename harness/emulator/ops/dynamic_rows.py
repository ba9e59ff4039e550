"""Matrix products of float rows, whose int8 weights take rows quantized at run time."""

from collections.abc import Callable

import numpy as np

from harness.emulator.definitions import Call, NoDefinition, scale_and_zero_point
from harness.emulator.graph import Array


def product_of(call: Call, place: int) -> Callable[[Array, Array], Array]:
    """``x @ w.T`` in float32; close to the runtime's, whose additions have another order.

    int8 weights: each row is quantized with ``max |x| / 127``, and the sums scaled back.

    Args:
        call: the node.
        place: of the weights among its inputs.
    """
    weights = call.input(place)
    if weights.dtype == "float32":
        return lambda x, w: np.asarray(x @ w.T)
    if weights.dtype != "int8" or call.node.options.get("asymmetric_quantize_inputs"):
        raise NoDefinition(f"its weights are {weights.dtype}, or its rows have zero points")
    scale = np.float32(scale_and_zero_point(weights)[0])

    def product(x: Array, w: Array) -> Array:
        steps = np.abs(x).max(axis=-1, keepdims=True) / np.float32(127)
        rows = np.rint(x / np.where(steps > 0, steps, 1))
        return np.asarray((rows @ w.T.astype(np.float32)) * (steps * scale), np.float32)

    return product
