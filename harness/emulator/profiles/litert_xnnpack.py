"""LiteRT with the XNNPACK delegate, its default: XNNPACK's kernels, then the built-in ones."""

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.ops.fully_connected import OF_28_BITS
from harness.emulator.profiles import delegation
from harness.emulator.profiles.elementwise import elementwise_delegated
from harness.emulator.profiles.hybrid import HYBRID_DELEGATED_X86, hybrid_delegated_arm
from harness.emulator.profiles.litert_builtin import BUILTIN_X86_ENTRIES, builtin_arm_entries
from harness.emulator.profiles.moves import MOVE_ENTRIES
from harness.emulator.profiles.reductions import sum_delegated
from harness.emulator.profiles.resize import resize_delegated
from harness.emulator.profiles.shared import FLOAT_ENTRIES
from harness.emulator.profiles.transpose_conv import (
    HYBRID_TRANSPOSE_CONV_DELEGATED,
    transpose_conv_delegated,
)

_X = "XNNPACK src"
_TRIED_CORES = (
    "measured on Cortex-A53, where it is S7, and on Cortex-A76, where it is S6; the core decides"
)


_INT8_WEIGHTS = (
    Entry(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        ("int8",),
        "S5:single",
        Evidence.MEASURED,
        f"{_X}/operators/convolution-nhwc.c, {_X}/qs8-qc8w-gemm, {_X}/qs8-qc8w-dwconv",
        delegation.takes_weights,
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
        weights=("int8",),
    ),
)

_SUM = Entry(
    ("ADD", "SUB"),
    ("int8", "uint8"),
    "xnnpack",
    Evidence.MEASURED,
    f"{_X}/microparams-init.c xnn_init_qs8_add_minmax_scalar_params, {_X}/qs8-vadd",
    delegation.takes_sum,
    "delegated: scales within [2^-10, 2^8) of the output's",
)

_WITHOUT_WEIGHTS = (
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


def delegated_entries(
    uint8_gemm: str,
    uint8_depthwise: str,
    mean: str,
    uint8_gemm_evidence: Evidence = Evidence.MEASURED,
) -> tuple[Entry, ...]:
    """What XNNPACK computes of a graph.

    Args:
        uint8_gemm: semantics of the uint8 matrix kernels.
        uint8_depthwise: semantics of the uint8 depthwise kernels.
        mean: semantics of MEAN.
        uint8_gemm_evidence: how `uint8_gemm` is known.
    """
    tried = _TRIED_CORES if uint8_gemm_evidence is Evidence.ASSUMED else ""
    return (
        *transpose_conv_delegated(uint8_gemm, uint8_gemm_evidence, tried),
        *_INT8_WEIGHTS,
        *_uint8_weights(uint8_gemm, uint8_depthwise, uint8_gemm_evidence, tried),
        _SUM,
        Entry(
            ("MEAN",),
            ("int8", "uint8"),
            mean,
            Evidence.MEASURED,
            f"{_X}/operators/reduce-nd.c reshape_reduce_nd",
            delegation.takes_reduction,
            "delegated: constant axes",
        ),
        *_WITHOUT_WEIGHTS,
    )


def _uint8_weights(
    gemm: str, depthwise: str, gemm_evidence: Evidence, tried: str
) -> tuple[Entry, ...]:
    return (
        Entry(
            ("CONV_2D", "DEPTHWISE_CONV_2D"),
            ("uint8",),
            depthwise,
            Evidence.MEASURED,
            f"{_X}/configs/dwconv-config.c init_qu8_dwconv_config, {_X}/qu8-dwconv",
            delegation.uses_depthwise_kernel,
            "delegated: one channel a group, window <= 25",
        ),
        Entry(
            ("CONV_2D", "DEPTHWISE_CONV_2D"),
            ("uint8",),
            gemm,
            gemm_evidence,
            f"{_X}/configs/gemm-config.c init_qu8_gemm_config, {_X}/qu8-igemm",
            delegation.takes_weights,
            "delegated: constant weights and bias",
            tried=tried,
        ),
        Entry(
            ("FULLY_CONNECTED",),
            ("uint8",),
            gemm,
            gemm_evidence,
            f"{_X}/configs/gemm-config.c init_qu8_gemm_config, {_X}/qu8-gemm",
            delegation.takes_fully_connected,
            "delegated: constant weights",
            tried=tried,
        ),
    )


def _narrow_fully_connected(dtype: str, semantics: str) -> Entry:
    conditions = {"int4": "an even depth", "int2": "per channel, a depth of whole fours"}
    return Entry(
        ("FULLY_CONNECTED",),
        ("int8",),
        semantics,
        Evidence.MEASURED,
        f"{_X}/operators/fully-connected-nc.c, {_X}/qs8-qc{dtype[-1]}w-gemm",
        delegation.takes_fully_connected,
        f"delegated: constant weights, {conditions[dtype]}",
        weights=(dtype,),
    )


LONG_SUMS_X86 = Entry(
    ("MEAN", "SUM"),
    ("int8",),
    "xnnpack",
    Evidence.ASSUMED,
    f"{_X}/qs8-rsum/avx2.c.in: its 16-bit partial sums overflow on extreme inputs; those of the"
    " VNNI kernels do not",
    delegation.takes_long_reduction,
    "delegated: more than 8192 elements a result",
    tried="equal on random inputs; on extreme ones the 16-bit partial sums of processors without "
    "VNNI overflow, those of others do not, and which kernel runs is not visible from outside",
)


def _profile(
    name: str, machine: str, delegated: tuple[Entry, ...], builtin: tuple[Entry, ...]
) -> ArithmeticProfile:
    return ArithmeticProfile(
        name,
        f"LiteRT 2.3.0 with its default XNNPACK delegate, {machine}",
        (*delegated, *builtin, *MOVE_ENTRIES, *FLOAT_ENTRIES),
        kernels="xnnpack",
    )


_SAME_ON_ARM = (
    _narrow_fully_connected("int4", OF_28_BITS),
    _narrow_fully_connected("int2", "S5:single"),
    resize_delegated("q11-fused"),
    sum_delegated("xnnpack-fused"),
    *elementwise_delegated("S6:single"),
)

LITERT_XNNPACK: tuple[ArithmeticProfile, ...] = (
    _profile(
        "litert-xnnpack-x86",
        "x86-64",
        (
            LONG_SUMS_X86,
            *HYBRID_DELEGATED_X86,
            HYBRID_TRANSPOSE_CONV_DELEGATED,
            _narrow_fully_connected("int4", "S5:single"),
            _narrow_fully_connected("int2", "S5:single"),
            resize_delegated("q11"),
            *elementwise_delegated("S5:single"),
            sum_delegated("xnnpack"),
            *delegated_entries("S5:single", "S5:single", "xnnpack"),
        ),
        BUILTIN_X86_ENTRIES,
    ),
    _profile(
        "litert-xnnpack-arm",
        "aarch64, core not known: uint8 matrix kernels differ between cores",
        (
            *hybrid_delegated_arm(""),
            *_SAME_ON_ARM,
            *delegated_entries("S6:single", "S6:single", "xnnpack-fused", Evidence.ASSUMED),
        ),
        builtin_arm_entries(""),
    ),
    _profile(
        "litert-xnnpack-arm@cortex-a53",
        "aarch64, Cortex-A53",
        (
            *hybrid_delegated_arm("cortex-a53"),
            HYBRID_TRANSPOSE_CONV_DELEGATED,
            *_SAME_ON_ARM,
            *delegated_entries("S7:single", "S6:single", "xnnpack-fused"),
        ),
        builtin_arm_entries("cortex-a53"),
    ),
    _profile(
        "litert-xnnpack-arm@cortex-a76",
        "aarch64, Cortex-A76",
        (
            *hybrid_delegated_arm("cortex-a76"),
            *_SAME_ON_ARM,
            *delegated_entries("S6:single", "S6:single", "xnnpack-fused"),
        ),
        builtin_arm_entries("cortex-a76"),
    ),
)
