"""DEPTHWISE_CONV_2D where the last channels are requantized otherwise than the others."""

from dataclasses import replace

import numpy as np

from harness.arithmetic.requantize import requantize
from harness.emulator.definitions import ACCUMULATORS, Call, Run, Values, define, numpy_dtype
from harness.emulator.graph import Array
from harness.emulator.ops.accumulate import requantization

BLOCKS_OF_8 = "S2-blocks-of-8:double"


@define(["DEPTHWISE_CONV_2D"], [BLOCKS_OF_8])
def bind_depthwise_blocks(call: Call) -> Run:
    """S2 in whole blocks of 8 channels, S1 in the rest; the multiplier in double.

    Source: LiteRT kernels/internal/optimized/integer_ops/depthwise_conv.h, DepthwiseConvGeneral;
    optimized_ops.h, Quantize with USE_NEON (on x86 through SSE).
    """
    accumulate = ACCUMULATORS[call.node.op](call)
    block, rest = (requantization(replace(call, semantics=f"{s}:double")) for s in ("S2", "S1"))
    channels = call.input(1).shape[-1]
    body = np.arange(channels) < channels // 8 * 8
    dtype = numpy_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        acc = accumulate(values)
        return (np.where(body, requantize(acc, block), requantize(acc, rest)).astype(dtype),)

    return run
