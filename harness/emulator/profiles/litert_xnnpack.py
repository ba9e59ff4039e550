"""LiteRT with the XNNPACK delegate, its default: XNNPACK's kernels, then the built-in ones."""

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.profiles import delegation
from harness.emulator.profiles.litert_builtin import BUILTIN_X86_ENTRIES
from harness.emulator.profiles.shared import FLOAT_ENTRIES, MOVE_ENTRIES

_X = "XNNPACK src"


def delegated_entries(uint8_gemm: str, uint8_depthwise: str) -> tuple[Entry, ...]:
    """What XNNPACK computes of a graph.

    Args:
        uint8_gemm: semantics of uint8 CONV_2D and FULLY_CONNECTED.
        uint8_depthwise: semantics of uint8 DEPTHWISE_CONV_2D.
    """
    weighted = delegation.takes_weights
    return (
        Entry(
            ("CONV_2D", "DEPTHWISE_CONV_2D"),
            ("int8",),
            "S5:single",
            Evidence.MEASURED,
            f"{_X}/operators/convolution-nhwc.c, {_X}/qs8-qc8w-gemm, {_X}/qs8-qc8w-dwconv",
            weighted,
            "delegated: constant weights and bias",
        ),
        Entry(
            ("FULLY_CONNECTED",),
            ("int8",),
            "S5:single",
            Evidence.MEASURED,
            f"{_X}/operators/fully-connected-nc.c, {_X}/qs8-qc8w-gemm",
            delegation.takes_fully_connected,
            "delegated: constant weights",
        ),
        Entry(
            ("CONV_2D",),
            ("uint8",),
            uint8_gemm,
            Evidence.MEASURED,
            f"{_X}/configs/gemm-config.c init_qu8_gemm_config, {_X}/qu8-gemm, {_X}/qu8-igemm",
            weighted,
            "delegated: constant weights and bias",
        ),
        Entry(
            ("FULLY_CONNECTED",),
            ("uint8",),
            uint8_gemm,
            Evidence.MEASURED,
            f"{_X}/configs/gemm-config.c init_qu8_gemm_config, {_X}/qu8-gemm",
            delegation.takes_fully_connected,
            "delegated: constant weights",
        ),
        Entry(
            ("DEPTHWISE_CONV_2D",),
            ("uint8",),
            uint8_depthwise,
            Evidence.MEASURED,
            f"{_X}/configs/dwconv-config.c init_qu8_dwconv_config, {_X}/qu8-dwconv",
            weighted,
            "delegated: constant weights and bias",
        ),
        Entry(
            ("ADD", "SUB"),
            ("int8", "uint8"),
            "xnnpack",
            Evidence.MEASURED,
            f"{_X}/microparams-init.c xnn_init_qs8_add_minmax_scalar_params, {_X}/qs8-vadd",
            delegation.takes_sum,
            "delegated: scales within [2^-10, 2^8) of the output's",
        ),
        Entry(
            ("MEAN",),
            ("int8", "uint8"),
            "xnnpack",
            Evidence.MEASURED,
            f"{_X}/operators/reduce-nd.c reshape_reduce_nd",
            delegation.takes_reduction,
            "delegated: constant axes",
        ),
        Entry(
            ("MAX_POOL_2D",),
            ("int8", "uint8"),
            "xnnpack",
            Evidence.MEASURED,
            f"{_X}/subgraph/max-pooling-2d.c",
            delegation.takes_maximum,
            "delegated: stride within the window",
        ),
        Entry(
            ("QUANTIZE",),
            ("float32",),
            "affine-even",
            Evidence.MEASURED,
            f"{_X}/f32-qs8-vcvt, {_X}/f32-qu8-vcvt",
            delegation.takes_eight_bit_output,
            "delegated: 8-bit output, per tensor",
        ),
        Entry(
            ("QUANTIZE",),
            ("int8", "uint8"),
            "rescale-8-bits",
            Evidence.MEASURED,
            f"{_X}/microparams-init.c xnn_init_qs8_cvt_scalar_params, {_X}/qs8-vcvt",
            delegation.takes_rescale,
            "delegated: equal dtypes, scales within [2^-8, 2^7] of each other",
        ),
        Entry(
            ("DEQUANTIZE",),
            ("int8", "uint8"),
            "affine",
            Evidence.MEASURED,
            f"{_X}/qs8-f32-vcvt, {_X}/qu8-f32-vcvt",
            delegation.takes_eight_bit_input,
            "delegated: per tensor",
        ),
    )


LITERT_XNNPACK_X86 = ArithmeticProfile(
    "litert-xnnpack-x86",
    "LiteRT 2.3.0 with its default XNNPACK delegate, x86-64",
    (
        *delegated_entries("S5:single", "S5:single"),
        *BUILTIN_X86_ENTRIES,
        *MOVE_ENTRIES,
        *FLOAT_ENTRIES,
    ),
    kernels="xnnpack",
)
