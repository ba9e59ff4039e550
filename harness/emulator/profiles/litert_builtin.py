"""LiteRT's optimized built-in kernels on x86-64, whose NEON code runs through SSE."""

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.profiles.shared import FLOAT_ENTRIES, MOVE_ENTRIES

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"

BUILTIN_X86_ENTRIES: tuple[Entry, ...] = (
    Entry(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
        ("int8", "uint8", "int16"),
        "integer",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/pooling.h, {_OPTIMIZED}/optimized_ops.h AveragePool, MaxPool",
    ),
    Entry(
        ("SOFTMAX",),
        ("int8", "uint8"),
        "exp-table",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h Softmax, PopulateSoftmaxLookupTable",
    ),
    Entry(
        ("QUANTIZE",),
        ("float32",),
        "affine-blocks-of-8",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h AffineQuantize",
    ),
    Entry(
        ("QUANTIZE",),
        ("int8", "uint8"),
        "requantize-S2-blocks-of-16",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h Requantize",
        when=lambda s: s.output in {"int8", "uint8"},
        condition="8-bit output",
    ),
)

LITERT_BUILTIN_X86 = ArithmeticProfile(
    "litert-builtin-x86",
    "LiteRT 2.3.0, optimized built-in kernels, x86-64",
    (*BUILTIN_X86_ENTRIES, *MOVE_ENTRIES, *FLOAT_ENTRIES),
    kernels="builtin",
)
