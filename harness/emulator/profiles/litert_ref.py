"""LiteRT's reference kernels (BUILTIN_REF): the same bits on every machine, but for the few ops
in float32 where aarch64 rounds a product and its sum once."""

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.profiles.additions import POWERS_OF_TWO, SUB_FAR_ARM, SUB_FAR_X86
from harness.emulator.profiles.elementwise import ELEMENTWISE_REF, LINES_ARM
from harness.emulator.profiles.four_bits import FOUR_BITS
from harness.emulator.profiles.hybrid_builtin import ARM_CORES, HYBRID_REF_X86, hybrid_ref_arm
from harness.emulator.profiles.logic import LOGIC_ENTRIES
from harness.emulator.profiles.moves import MOVE_ENTRIES, rescaled_concatenation
from harness.emulator.profiles.narrow import NARROW_REF
from harness.emulator.profiles.plain import PLAIN_ENTRIES
from harness.emulator.profiles.recurrent import RECURRENT_ARM, RECURRENT_X86
from harness.emulator.profiles.reductions import REDUCTIONS_REF
from harness.emulator.profiles.resize import RESIZE_REF, RESIZE_REF_ARM
from harness.emulator.profiles.shared import FLOAT_ENTRIES, INT16_ENTRIES
from harness.emulator.profiles.softmax import SOFTMAX_REF
from harness.emulator.profiles.transpose_conv import (
    TRANSPOSE_CONV_HYBRID_X86,
    TRANSPOSE_CONV_REF,
)

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"

_EVERYWHERE: tuple[Entry, ...] = (
    Entry(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        ("int8",),
        "S1:double",
        Evidence.MEASURED,
        f"{_REFERENCE}/integer_ops/conv.h ConvPerChannel, depthwise_conv.h "
        "DepthwiseConvPerChannel; kernel_util.cc PopulateConvolutionQuantizationParams",
    ),
    Entry(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        ("uint8",),
        "S1:product",
        Evidence.MEASURED,
        f"{_REFERENCE}/conv.h Conv, depthwiseconv_uint8.h DepthwiseConvImpl; "
        "kernel_util.cc GetQuantizedConvolutionMultipler",
    ),
    *INT16_ENTRIES,
    *NARROW_REF,
    Entry(
        ("FULLY_CONNECTED",),
        ("int8", "uint8"),
        "S4:double",
        Evidence.MEASURED,
        f"{_REFERENCE}/integer_ops/fully_connected.h, {_REFERENCE}/fully_connected.h: "
        "the overloads that take float scales",
        when=lambda s: s.dtypes[1] in {s.dtypes[0], "int4", "int2"} and s.output == s.dtypes[0],
        condition="weights of the same dtype, int4 or int2, output of the same dtype",
    ),
    POWERS_OF_TWO,
    Entry(
        ("ADD", "SUB"),
        ("int8", "uint8", "int16"),
        "shifted-S1",
        Evidence.MEASURED,
        f"{_REFERENCE}/add.h AddElementwise; {_KERNELS}/add.cc Prepare",
    ),
    Entry(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
        ("int8", "uint8", "int16"),
        "integer",
        Evidence.MEASURED,
        f"{_REFERENCE}/integer_ops/pooling.h, {_REFERENCE}/pooling.h",
    ),
    Entry(
        ("MEAN",),
        ("int8", "uint8"),
        "folded-S1",
        Evidence.MEASURED,
        f"{_REFERENCE}/reduce.h QuantizedMeanOrSum",
    ),
    *SOFTMAX_REF,
    *TRANSPOSE_CONV_REF,
    Entry(
        ("QUANTIZE",),
        ("float32",),
        "affine-away",
        Evidence.MEASURED,
        f"{_REFERENCE}/quantize.h AffineQuantize",
    ),
    Entry(
        ("QUANTIZE",),
        ("int8", "uint8", "int16"),
        "requantize-S1",
        Evidence.MEASURED,
        f"{_REFERENCE}/requantize.h Requantize",
    ),
    Entry(
        ("QUANTIZE",),
        ("int32",),
        "requantize-S1",
        Evidence.MEASURED,
        f"{_REFERENCE}/requantize.h Requantize",
    ),
    Entry(
        ("DEQUANTIZE",),
        ("int8", "uint8", "int16", "float16", "int4"),
        "affine",
        Evidence.MEASURED,
        f"{_REFERENCE}/dequantize.h Dequantize",
    ),
    *ELEMENTWISE_REF,
    *RESIZE_REF,
    *REDUCTIONS_REF,
    *MOVE_ENTRIES,
    *LOGIC_ENTRIES,
    *PLAIN_ENTRIES,
    *FLOAT_ENTRIES,
)

LITERT_REF = ArithmeticProfile(
    "litert-ref",
    "LiteRT 2.3.0, reference kernels (BUILTIN_REF), x86-64",
    (
        SUB_FAR_X86,
        *HYBRID_REF_X86,
        TRANSPOSE_CONV_HYBRID_X86,
        *FOUR_BITS,
        *RECURRENT_X86,
        rescaled_concatenation("rescaled"),
        *_EVERYWHERE,
    ),
    kernels="reference",
)

LITERT_REF_ARM: tuple[ArithmeticProfile, ...] = tuple(
    ArithmeticProfile(
        "litert-ref-arm" + (f"@{core}" if core else ""),
        f"LiteRT 2.3.0, reference kernels (BUILTIN_REF), aarch64, {machine}",
        (
            SUB_FAR_ARM,
            *hybrid_ref_arm(core),
            *FOUR_BITS,
            *RECURRENT_ARM,
            RESIZE_REF_ARM,
            *LINES_ARM,
            rescaled_concatenation("rescaled-fused"),
            *_EVERYWHERE,
        ),
        kernels="reference",
    )
    for core, machine in ARM_CORES.items()
)
