"""Entries that hold in every runtime: int16, and float arithmetic, which promises nothing."""

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.ops.detection import OP as DETECTION
from harness.emulator.ops.float_functions import FLOAT_FUNCTIONS

_KERNELS = "LiteRT tflite/kernels"


def _sums_in_int64(s: Signature) -> bool:
    return len(s.dtypes) > 2 and s.dtypes[2] == "int64" and s.output == "int16"


def has_narrow_sums(s: Signature) -> bool:
    """int16 activations whose bias, and so the sums, are int32."""
    bias = s.dtypes[2] if len(s.dtypes) > 2 else ""
    return bias == "int32" or (not bias and s.options.get("quantized_bias_type") == "int32")


INT16_ENTRIES: tuple[Entry, ...] = (
    Entry(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        ("int16",),
        "S8:double",
        Evidence.MEASURED,
        f"{_KERNELS}/conv.cc and depthwise_conv.cc EvalQuantizedPerChannel16x8, which takes the "
        "reference kernel whatever the resolver",
        when=lambda s: _sums_in_int64(s) and s.dtypes[1] == "int8",
        condition="int8 weights, int64 bias",
    ),
    Entry(
        ("FULLY_CONNECTED",),
        ("int16",),
        "S4:double",
        Evidence.MEASURED,
        f"{_KERNELS}/fully_connected.cc FullyConnectedInt16, FullyConnectedPerChannelInt16",
        when=lambda s: _sums_in_int64(s) and s.dtypes[1] in {"int8", "int4"},
        condition="int8 or int4 weights, int64 bias",
    ),
    Entry(
        ("MEAN",),
        ("int16",),
        "folded-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/reduce.cc EvalMean, EvalQuantizedMean",
    ),
)
"""LiteRT's kernels for int16 activations that are the same in every resolver."""

FLOAT_ENTRIES: tuple[Entry, ...] = (
    Entry(
        (
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "FULLY_CONNECTED",
            "ADD",
            "SUB",
            "MUL",
            "AVERAGE_POOL_2D",
            "MAX_POOL_2D",
            "MEAN",
            "SOFTMAX",
            "LOGISTIC",
            "RELU",
            "RELU6",
            "RELU_N1_TO_1",
            "BATCH_MATMUL",
            "LOG_SOFTMAX",
            "RESIZE_BILINEAR",
            "CONV_3D",
            "CUMSUM",
            "RFFT2D",
            *FLOAT_FUNCTIONS,
        ),
        ("float32",),
        "float",
        Evidence.ASSUMED,
        "float32 arithmetic; the order of additions is the runtime's own",
        when=lambda s: all(d in {"float32", "int32", ""} for d in s.dtypes),
        condition="all inputs float32 (axes int32)",
    ),
    Entry(
        ("TRANSPOSE_CONV",),
        ("float32",),
        "float",
        Evidence.ASSUMED,
        "float32 arithmetic; the order of additions is the runtime's own",
        weights=("float32",),
    ),
    Entry(
        ("COMPLEX_ABS", "REAL", "IMAG"),
        ("complex64",),
        "float",
        Evidence.ASSUMED,
        f"{_KERNELS}/complex_support.cc",
    ),
    Entry(
        (DETECTION,),
        ("float32", "uint8", "int8"),
        "float",
        Evidence.ASSUMED,
        f"{_KERNELS}/detection_postprocess.cc",
    ),
)
