"""Output scales and zero points that LiteRT's kernels insist on: with others `Prepare` fails.

Sources: the Prepare functions of tensorflow/lite/kernels (activations.cc, elementwise.cc,
l2norm.cc, reduce.cc, add.cc, sub.cc, mul.cc, batch_matmul.cc), and what the runtime says of files
made with other values (tests/harness/emulator/test_refusals.py).
"""

from collections.abc import Sequence

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.graph import Tensor

_LITERT = "litert-"
_NO_OFFSET = frozenset(
    {
        "ABS",
        "ADD",
        "BATCH_MATMUL",
        "LEAKY_RELU",
        "MEAN",
        "MUL",
        "REDUCE_PROD",
        "RELU",
        "RELU6",
        "SOFTMAX",
        "SQRT",
        "SUB",
        "TANH",
    }
)
"""Of int16: the zero point of the output is 0; of SUM too, but in the reference kernels."""
_SCALES = {
    ("LOGISTIC", "int8"): 1 / 256,
    ("LOGISTIC", "uint8"): 1 / 256,
    ("LOGISTIC", "int16"): 1 / 32768,
    ("LOG_SOFTMAX", "int8"): 16 / 256,
    ("LOG_SOFTMAX", "uint8"): 16 / 256,
    ("L2_NORMALIZATION", "int8"): 1 / 128,
    ("L2_NORMALIZATION", "uint8"): 1 / 128,
    ("TANH", "int16"): 1 / 32768,
}
_ZERO_POINTS = {
    ("LOGISTIC", "int16"): 0,
    ("LOG_SOFTMAX", "int8"): 127,
    ("LOG_SOFTMAX", "uint8"): 255,
    ("L2_NORMALIZATION", "int8"): 0,
    ("L2_NORMALIZATION", "uint8"): 128,
    ("SOFTMAX", "int8"): -128,
}
_NEAR = 0.001 / 32768
"""How far the scale of an int16 SOFTMAX may be from 1/32768."""
_DELEGATED = {("LOGISTIC", "int8"), ("LOGISTIC", "uint8")}
"""XNNPACK takes these with any output quantization, before the kernel's own check."""


def refused(op: str, outputs: Sequence[Tensor], profile: ArithmeticProfile) -> str:
    """Why the runtime refuses a node for its output's quantization; "" where it does not.

    Args:
        op: its name.
        outputs: its output tensors.
        profile: only LiteRT's own kernels check.
    """
    if not outputs or outputs[0].quantization is None or not profile.name.startswith(_LITERT):
        return ""
    dtype, quantization = outputs[0].dtype, outputs[0].quantization
    key = (op, dtype)
    if key in _DELEGATED and profile.name.startswith("litert-xnnpack"):
        return ""
    scale, zero_point = float(quantization.scales[0]), int(quantization.zero_points[0])
    symmetric = op in _NO_OFFSET or (op == "SUM" and not profile.name.startswith("litert-ref"))
    wanted_zero = 0 if dtype == "int16" and symmetric else _ZERO_POINTS.get(key)
    wanted_scale = _SCALES.get(key)
    if wanted_zero is not None and zero_point != wanted_zero:
        return f"the runtime refuses {dtype} {op} with zero point {zero_point}, not {wanted_zero}"
    if wanted_scale is not None and scale != wanted_scale:
        return f"the runtime refuses {dtype} {op} with output scale {scale:g}, not {wanted_scale:g}"
    if key == ("SOFTMAX", "int16") and abs(scale - 1 / 32768) > _NEAR:
        return f"the runtime refuses int16 SOFTMAX with output scale {scale:g}, not near 1/32768"
    return ""
