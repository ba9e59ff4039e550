"""Small networks of several ops, where one op's error reaches the next."""

import numpy as np

from tests.oracle.build import Builder, options, per_tensor

RESIDUAL_TENSORS = {"PAD": 2, "CONV_2D": 5, "ADD": 6, "RELU": 7}
"""Tensor that each op of `residual` makes."""


def residual(*, signature: bool = True) -> bytes:
    """PAD, CONV_2D, ADD with the pad's output, RELU on (1, 5, 5, 4) int8.

    Delegates fuse PAD and RELU with the convolution where they can. The scales are dyadic, so that
    the requantizations differ.
    """
    builder = Builder()
    rng = np.random.default_rng(1)
    q = per_tensor(2**-3, 3)
    x = builder.tensor((1, 5, 5, 4), "int8", q)
    pads = builder.constant([[0, 0], [1, 1], [1, 1], [0, 0]], "int32")
    padded = builder.tensor((1, 7, 7, 4), "int8", q)
    builder.op("PAD", [x, pads], [padded], options("Pad"))
    weights = builder.constant(rng.integers(-9, 9, (4, 3, 3, 4)), "int8", per_tensor(2**-6))
    bias = builder.constant(rng.integers(-99, 99, 4), "int32", per_tensor(2**-9))
    y = builder.tensor((1, 7, 7, 4), "int8", per_tensor(2**-3, -5))
    made = options("Conv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    builder.op("CONV_2D", [padded, weights, bias], [y], made)
    total = builder.tensor((1, 7, 7, 4), "int8", per_tensor(2**-2, 10))
    builder.op("ADD", [y, padded], [total], options("Add"))
    out = builder.tensor((1, 7, 7, 4), "int8", per_tensor(2**-2, 10))
    builder.op("RELU", [total], [out])
    return builder.finish([x], [out], signature=signature)


def saturating() -> bytes:
    """An ADD whose output holds a thousandth of what its inputs give."""
    builder = Builder()
    x = builder.tensor((1, 6), "int8", per_tensor(1.0))
    out = builder.tensor((1, 6), "int8", per_tensor(2**-10))
    builder.op("ADD", [x, x], [out], options("Add"))
    return builder.finish([x], [out])
