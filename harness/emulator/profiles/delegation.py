"""Which nodes LiteRT's XNNPACK delegate takes; the rest runs in the built-in kernels.

Source: LiteRT tflite/delegates/xnnpack/xnnpack_delegate.cc, the Visit… functions, with the flags
that the runtime sets by default (signed and unsigned 8-bit quantization).
"""

from math import prod

import numpy as np

from harness.arithmetic.profile import Signature

_MAX_DIMENSIONS = 6
_LARGEST_DEPTHWISE_WINDOW = 25


def takes_weights(s: Signature) -> bool:
    """CONV_2D and DEPTHWISE_CONV_2D: constant weights and bias, symmetric int8 weights."""
    return (
        len(s.dtypes) == 3
        and s.dtypes[2] == "int32"
        and all(s.constant[1:3])
        and s.dtypes[1] == s.dtypes[0] == s.output
        and _weights_fit(s)
    )


def uses_depthwise_kernel(s: Signature) -> bool:
    """Of a delegated convolution: one channel in and out of each group, a window of at most 25.

    All others go through the matrix kernels, whatever the operator is called.

    Source: XNNPACK src/operators/convolution-nhwc.c, select_microkernel_type;
    src/configs/dwconv-config.c.
    """
    channels, weights = s.shapes[0][-1], s.shapes[1]
    if s.op == "DEPTHWISE_CONV_2D":
        single = weights[3] == channels
    else:
        single = weights[3] == 1 and weights[0] == channels
    return takes_weights(s) and single and weights[1] * weights[2] <= _LARGEST_DEPTHWISE_WINDOW


def takes_fully_connected(s: Signature) -> bool:
    """FULLY_CONNECTED: constant weights, and a bias that is absent or constant."""
    weights, (units, depth) = s.dtypes[1], s.shapes[1]
    return (
        (weights == s.dtypes[0] or (s.dtypes[0] == "int8" and weights in {"int4", "int2"}))
        and s.output == s.dtypes[0]
        and s.constant[1]
        and (len(s.dtypes) < 3 or s.dtypes[2] == "" or (s.dtypes[2] == "int32" and s.constant[2]))
        and not (weights == "int4" and depth % 2)
        and not (weights == "int2" and (depth % 4 or len(s.scales[1]) != units))
        and s.options.get("weights_format", "DEFAULT") == "DEFAULT"
        and _weights_fit(s)
    )


def takes_transpose_conv(s: Signature) -> bool:
    """TRANSPOSE_CONV: constant size, weights and bias; windows not smaller than the stride.

    Source: xnnpack_delegate.cc, CalculateTransposeConvPaddings.
    """
    return s.dtypes[1] == s.dtypes[0] == s.output and _fits_transpose_conv(s, "int32")


def takes_hybrid_transpose_conv(s: Signature) -> bool:
    """The same of float32 activations on int8 weights."""
    return s.output == "float32" and _fits_transpose_conv(s, "float32")


def _fits_transpose_conv(s: Signature, bias: str) -> bool:
    window, o = s.shapes[1][1:3], s.options
    if o.get("padding", "SAME") == "SAME":
        limits = (o.get("stride_h", 1), o.get("stride_w", 1))
        fits = all(n >= limit for n, limit in zip(window, limits, strict=True))
    else:
        fits = all(n <= size for n, size in zip(window, s.output_shape[1:3], strict=True))
    return (
        (s.dtypes[2] == "" or (s.dtypes[2] == bias and s.constant[2]))
        and s.constant[1]
        and s.constant[3]
        and fits
        and _weights_fit(s)
    )


def _weights_fit(s: Signature) -> bool:
    """8-bit weights: int8 ones are symmetric, uint8 ones are quantized per tensor."""
    if s.dtypes[1] == "uint8":
        return not s.per_channel
    return not any(s.zero_points[1])


def takes_sum(s: Signature) -> bool:
    """ADD and SUB: equal dtypes, both scales within [2^-10, 2^8) of the output's."""
    if len({*s.dtypes, s.output}) != 1 or not _few_dimensions(s):
        return False
    return all(1 / 1024 <= _scale_ratio(s, index) < 256 for index in (0, 1))


def takes_maximum(s: Signature) -> bool:
    """MAX_POOL_2D: the stride does not exceed the window."""
    fits = all(
        s.options.get(f"stride_{name[0]}", 1) <= s.options.get(f"filter_{name}", 1)
        for name in ("height", "width")
    )
    return fits and s.output == s.dtypes[0]


def takes_reduction(s: Signature) -> bool:
    """MEAN and SUM: constant int32 axes, equal dtypes."""
    return (
        s.dtypes[1] == "int32" and s.constant[1] and s.output == s.dtypes[0] and _few_dimensions(s)
    )


def takes_long_reduction(s: Signature) -> bool:
    """MEAN and SUM as `takes_reduction`, of more elements a result than 16-bit sums can hold.

    x86 kernels without VNNI sum contiguous int8 in two accumulators of int16 lanes, two elements a
    lane for every 64; 256 of one lane fit whatever they are, which is 128 * 64 in all.

    Source: XNNPACK src/qs8-rsum/avx2.c.in, ssse3.c.in, avx512skx.c.in.
    """
    elements, results = prod(s.shapes[0]), prod(s.output_shape)
    return takes_reduction(s) and elements > 128 * 64 * results


def takes_rescale(s: Signature) -> bool:
    """QUANTIZE between equal 8-bit dtypes, scales within [2^-8, 2^7] of each other."""
    return s.output == s.dtypes[0] and 1 / 256 <= _scale_ratio(s, 0) <= 128


def takes_eight_bit_output(s: Signature) -> bool:
    """QUANTIZE from float32 to int8 or uint8, per tensor."""
    return s.output in {"int8", "uint8"} and len(s.scales[-1]) == 1 and _few_dimensions(s)


def takes_eight_bit_input(s: Signature) -> bool:
    """DEQUANTIZE from int8 or uint8, per tensor."""
    return len(s.scales[0]) == 1 and _few_dimensions(s)


def takes_product(s: Signature) -> bool:
    """MUL: equal dtypes, the product of the input scales within [2^-16, 2^8) of the output's."""
    if not _all_per_tensor(s) or len(s.scales) != 3 or not s.scales[-1][0]:
        return False
    first, second, output = (np.float32(scale[0]) for scale in s.scales)
    return bool(1 / 65536 <= first * second / output < 256)


def takes_leaky_relu(s: Signature) -> bool:
    """LEAKY_RELU: scales within [2^-8, 2^7] of each other, above zero and, times alpha, below it.

    A negative multiplier reaches down to -2^7 + 2^-8.
    """
    alpha = np.float32(s.options.get("alpha", 0.0))
    if not _all_per_tensor(s) or abs(alpha) < np.finfo(np.float32).tiny:
        return False
    above = np.float32(_scale_ratio(s, 0))
    below = above * alpha
    return bool(1 / 256 <= above <= 128 and -127.99609375 <= below <= 128 and abs(below) >= 1 / 256)


def takes_equal_dtypes(s: Signature) -> bool:
    """LOGISTIC, TANH and ELU: input and output of one dtype, per tensor."""
    return _all_per_tensor(s)


def _all_per_tensor(s: Signature) -> bool:
    one_dtype = len({*s.dtypes, s.output}) == 1
    return one_dtype and all(len(scale) == 1 for scale in s.scales) and _few_dimensions(s)


def _scale_ratio(s: Signature, index: int) -> float:
    """Scale of an input over the output's, in float32; 0 where either has none."""
    if len(s.scales[index]) != 1 or len(s.scales[-1]) != 1 or not s.scales[-1][0]:
        return 0.0
    return float(np.float32(s.scales[index][0]) / np.float32(s.scales[-1][0]))


def _few_dimensions(s: Signature) -> bool:
    return all(len(shape) <= _MAX_DIMENSIONS for shape in s.shapes)
