"""LiteRT's optimized built-in kernels: on aarch64, and on x86-64, where NEON code runs as SSE."""

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.profiles.additions import ADD_BUILTIN, SUB_FAR_ARM, SUB_FAR_BUILTIN_X86
from harness.emulator.profiles.elementwise import (
    ELEMENTWISE_BUILTIN_ARM,
    ELEMENTWISE_BUILTIN_X86,
)
from harness.emulator.profiles.four_bits import FOUR_BITS
from harness.emulator.profiles.hybrid_builtin import (
    ARM_CORES,
    HYBRID_BUILTIN_X86,
    hybrid_builtin_arm,
)
from harness.emulator.profiles.logic import LOGIC_ENTRIES
from harness.emulator.profiles.matrix import MATRIX_ARM, MATRIX_X86, UNPACKED_ARM
from harness.emulator.profiles.moves import MOVE_ENTRIES, rescaled_concatenation
from harness.emulator.profiles.narrow import narrow_builtin
from harness.emulator.profiles.plain import PLAIN_ENTRIES
from harness.emulator.profiles.recurrent import RECURRENT_ARM, RECURRENT_X86
from harness.emulator.profiles.reductions import REDUCTIONS_BUILTIN_ARM, REDUCTIONS_BUILTIN_X86
from harness.emulator.profiles.resize import RESIZE_BUILTIN_ARM, RESIZE_BUILTIN_X86
from harness.emulator.profiles.shared import FLOAT_ENTRIES, INT16_ENTRIES
from harness.emulator.profiles.softmax import SOFTMAX_BUILTIN_ARM, SOFTMAX_BUILTIN_X86
from harness.emulator.profiles.transpose_conv import (
    TRANSPOSE_CONV_BUILTIN,
    TRANSPOSE_CONV_HYBRID_X86,
)

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"

_MEAN = Entry(
    ("MEAN",),
    ("int8", "uint8"),
    "images-S2-blocks-of-16",
    Evidence.MEASURED,
    f"{_KERNELS}/reduce.cc EvalMean; {_OPTIMIZED}/integer_ops/mean.h, {_OPTIMIZED}/reduce.h Mean",
)

_COMMON: tuple[Entry, ...] = (
    *INT16_ENTRIES,
    *LOGIC_ENTRIES,
    *ADD_BUILTIN,
    _MEAN,
    Entry(
        ("ADD", "SUB"),
        ("int16",),
        "shifted-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/add.cc, sub.cc: broadcast adds and all subtractions take the reference kernel",
        when=lambda s: s.op == "SUB" or s.shapes[0] != s.shapes[1],
        condition="ADD: broadcast",
    ),
    Entry(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
        ("int8", "uint8", "int16"),
        "integer",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/pooling.h, {_OPTIMIZED}/optimized_ops.h AveragePool, MaxPool",
    ),
    Entry(
        ("DEQUANTIZE",),
        ("float16",),
        "affine",
        Evidence.MEASURED,
        f"{_KERNELS}/dequantize.h Dequantize: a conversion without rounding",
    ),
    Entry(
        ("DEQUANTIZE",),
        ("int8", "uint8"),
        "affine",
        Evidence.MEASURED,
        "LiteRT tflite/kernels/internal/reference/dequantize.h PerChannelDequantize",
        when=lambda s: len(s.scales[0]) > 1,
        condition="per channel",
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
    Entry(
        ("QUANTIZE",),
        ("int8", "uint8", "int16"),
        "requantize-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/internal/reference/requantize.h Requantize",
    ),
    Entry(
        ("QUANTIZE",),
        ("int32",),
        "requantize-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/internal/reference/requantize.h Requantize",
    ),
    *TRANSPOSE_CONV_BUILTIN,
)


def _dequantize(semantics: str, dtypes: tuple[str, ...] = ("int8", "uint8", "int16")) -> Entry:
    return Entry(
        ("DEQUANTIZE",),
        dtypes,
        semantics,
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h Dequantize, ScaleWithNewZeroPoint",
        lambda s: len(s.scales[0]) == 1,
        "per tensor",
    )


BUILTIN_X86_ENTRIES: tuple[Entry, ...] = (
    *SUB_FAR_BUILTIN_X86,
    *FOUR_BITS,
    *SOFTMAX_BUILTIN_X86,
    *ELEMENTWISE_BUILTIN_X86,
    _dequantize("affine-blocks-of-8"),
    _dequantize("affine-blocks-of-8", ("int4",)),
    *MATRIX_X86,
    *RECURRENT_X86,
    *narrow_builtin("S2"),
    *RESIZE_BUILTIN_X86,
    *REDUCTIONS_BUILTIN_X86,
    *HYBRID_BUILTIN_X86,
    TRANSPOSE_CONV_HYBRID_X86,
    rescaled_concatenation("rescaled"),
    *_COMMON,
    *PLAIN_ENTRIES,
)
BUILTIN_ARM_ENTRIES: tuple[Entry, ...] = (
    SUB_FAR_ARM,
    *SOFTMAX_BUILTIN_ARM,
    *ELEMENTWISE_BUILTIN_ARM,
    _dequantize("affine-fused-blocks-of-8"),
    *MATRIX_ARM,
    *RECURRENT_ARM,
    *narrow_builtin("S3"),
    *RESIZE_BUILTIN_ARM,
    *REDUCTIONS_BUILTIN_ARM,
    rescaled_concatenation("rescaled-fused"),
    *_COMMON,
)


def builtin_arm_entries(core: str) -> tuple[Entry, ...]:
    """Of the built-in kernels on aarch64; `core` is one of `ARM_CORES`."""
    return (
        *hybrid_builtin_arm(core),
        *FOUR_BITS,
        *UNPACKED_ARM,
        _dequantize("affine-fused-blocks-of-8", ("int4",)),
        *BUILTIN_ARM_ENTRIES,
        *PLAIN_ENTRIES,
    )


LITERT_BUILTIN_X86 = ArithmeticProfile(
    "litert-builtin-x86",
    "LiteRT 2.3.0, optimized built-in kernels, x86-64 with AVX2, one thread",
    (*BUILTIN_X86_ENTRIES, *MOVE_ENTRIES, *FLOAT_ENTRIES),
    kernels="builtin",
)
LITERT_BUILTIN_ARM: tuple[ArithmeticProfile, ...] = tuple(
    ArithmeticProfile(
        "litert-builtin-arm" + (f"@{core}" if core else ""),
        f"LiteRT 2.3.0, optimized built-in kernels, aarch64 Linux, one thread, {machine}",
        (*builtin_arm_entries(core), *MOVE_ENTRIES, *FLOAT_ENTRIES),
        kernels="builtin",
    )
    for core, machine in ARM_CORES.items()
)
