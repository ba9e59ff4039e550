"""CLAMP: a range as an op of its own, as XNNPACK and ExecuTorch have it."""

import numpy as np

from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    numpy_dtype,
    required,
    same_shape,
    scale_and_zero_point,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import clamp_float, fused_activation, xnnpack_clamp

OUTPUT_SHAPES["CLAMP"] = same_shape


@define(["CLAMP"], ["xnnpack"], elementwise=1)
def bind_clamp(call: Call) -> Run:
    """The range's ends as the output's integers; input and output share their quantization.

    Source: XNNPACK src/operators/unary-elementwise-nc.c, init_config; microparams-init.c
    xnn_init_qs8_clamp_scalar_params.
    """
    scale, zero_point = scale_and_zero_point(call.output)
    if (scale, zero_point) != scale_and_zero_point(call.input(0)):
        raise NoDefinition("its input and output are quantized differently")
    limits = xnnpack_clamp(fused_activation(call), scale, zero_point, call.output.dtype)
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        return (np.clip(required(values[0]).astype(np.int64), *limits).astype(dtype),)

    return run


@define(["CLAMP"], ["float"])
def bind_clamp_float(call: Call) -> Run:
    """The range itself."""
    activation = fused_activation(call)
    return lambda values: (clamp_float(required(values[0]), activation),)
