"""The range of a quantized output, fused activation included."""

from collections.abc import Callable

import numpy as np

from harness.arithmetic.fixed_point import round_half_away
from harness.emulator.definitions import Call, NoDefinition, scale_and_zero_point
from harness.emulator.graph import Array

Activation = str | tuple[float, float]
"""A fused activation: its name, as TFLite has it, or its range, infinite where it is open."""

ClampRule = Callable[[Activation, float, int, str], tuple[int, int]]
"""From (fused activation, output scale, zero point, dtype) to the inclusive range."""

_REAL_RANGES: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def real_range(activation: Activation) -> tuple[float | None, float | None]:
    """Lowest and highest real value of a fused activation; None where it does not bound."""
    if isinstance(activation, tuple):
        low, high = activation
        return None if low == -np.inf else low, None if high == np.inf else high
    if activation not in _REAL_RANGES:
        raise NoDefinition(f"its fused activation {activation} is not defined")
    return _REAL_RANGES[activation]


def fused_activation(call: Call) -> Activation:
    """The fused activation."""
    found = call.node.options.get("fused_activation_function", "NONE")
    return found if isinstance(found, tuple) else str(found)


def clamp_float(y: Array, activation: Activation) -> Array:
    """`y` within the real range of an activation."""
    low, high = real_range(activation)
    if low is not None:
        y = np.maximum(y, np.asarray(low, y.dtype))
    if high is not None:
        y = np.minimum(y, np.asarray(high, y.dtype))
    return y


def fused_clamp(call: Call) -> tuple[int, int]:
    """Lowest and highest output integer, by the rule of the runtime that the semantics belongs to.

    A semantics whose multiplier is ``single`` is XNNPACK's.
    """
    scale, zero_point = scale_and_zero_point(call.output)
    activation = fused_activation(call)
    rule = xnnpack_clamp if call.semantics.endswith(":single") else tflite_clamp
    return rule(activation, scale, zero_point, call.output.dtype)


def tflite_clamp(
    activation: Activation, scale: float, zero_point: int, dtype: str
) -> tuple[int, int]:
    """``zero_point + round(limit / scale)`` in float32, ties away from zero, within the dtype.

    Source: LiteRT kernels/kernel_util.cc, CalculateActivationRangeQuantizedImpl.
    """
    limits = np.iinfo(dtype)

    def quantize(real: float) -> int:
        return zero_point + int(round_half_away(np.asarray(np.float32(real) / np.float32(scale))))

    low, high = real_range(activation)
    return (
        int(limits.min) if low is None else max(int(limits.min), quantize(low)),
        int(limits.max) if high is None else min(int(limits.max), quantize(high)),
    )


def xnnpack_clamp(
    activation: Activation, scale: float, zero_point: int, dtype: str
) -> tuple[int, int]:
    """``rint(clip(limit / scale + zero_point))`` in float32, ties to even.

    Source: XNNPACK src/xnnpack/requantization.h, xnn_qs8_quantize and xnn_qu8_quantize.
    """
    limits = np.iinfo(dtype)

    def quantize(real: float) -> int:
        shifted = np.float32(real) / np.float32(scale) + np.float32(zero_point)
        return int(np.rint(np.clip(shifted, np.float32(limits.min), np.float32(limits.max))))

    low, high = real_range(activation)
    return (
        int(limits.min) if low is None else quantize(low),
        int(limits.max) if high is None else quantize(high),
    )
