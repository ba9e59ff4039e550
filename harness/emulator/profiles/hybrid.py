"""Entries of hybrid ops: float32 activations on integer weights. Their float outputs are exact.

Every resolver quantizes activations with the same optimized code (`tensor_utils`), and 8-bit
FULLY_CONNECTED has one kernel for all; convolutions differ between reference and optimized kernels.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.profiles.matrix import fits_3x3_kernel

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_REFERENCE = f"{_KERNELS}/internal/reference"
_X = "XNNPACK src"

_SMALL = ("int8", "int4")

ARM_CORES = {
    "": "core not known",
    "cortex-a53": "Cortex-A53, which has no dot products",
    "cortex-a76": "Cortex-A76, which has dot products",
}
"""Cores of which profiles of their own exist, and what tells them apart."""


def _is_hybrid(s: Signature) -> bool:
    return s.output == "float32" and (len(s.dtypes) < 3 or s.dtypes[2] in {"", "float32"})


def _is_conv(s: Signature) -> bool:
    return _is_hybrid(s) and len(s.shapes[0]) == len(s.shapes[1]) == 4


def _has_groups(s: Signature) -> bool:
    return s.shapes[0][-1] != s.shapes[1][-1]


def _is_dense(s: Signature) -> bool:
    return _is_conv(s) and not _has_groups(s)


def _is_dense_with_one_scale(s: Signature) -> bool:
    return _is_dense(s) and len(set(s.scales[1])) == 1


def _has_scales_of_channels(s: Signature) -> bool:
    return _is_conv(s) and len(s.scales[1]) == s.output_shape[-1]


def _entry(
    op: str,
    semantics: str,
    file: str,
    condition: tuple[Callable[[Signature], bool], str],
    weights: tuple[str, ...] = _SMALL,
) -> Entry:
    when, words = condition
    return Entry(
        (op,),
        ("float32",),
        f"hybrid:{semantics}",
        Evidence.MEASURED,
        file,
        when,
        words,
        weights,
    )


def _reference_convolutions(rows: str) -> tuple[Entry, ...]:
    """`rows` is how rows are quantized."""
    return (
        _entry(
            "CONV_2D",
            f"{rows}:product",
            f"{_OPTIMIZED}/optimized_ops.h HybridConv, which the reference resolver takes too",
            (_is_dense_with_one_scale, "no groups, one scale"),
        ),
        _entry(
            "CONV_2D",
            f"{rows}:weights-first",
            f"{_REFERENCE}/conv.h HybridConvPerChannel",
            (_has_scales_of_channels, "a scale for each channel"),
        ),
        _entry(
            "DEPTHWISE_CONV_2D",
            f"{rows}:product",
            f"{_REFERENCE}/integer_ops/depthwise_conv.h DepthwiseConvHybridPerChannel",
            (_has_scales_of_channels, "a scale for each channel"),
            ("int8",),
        ),
    )


def _optimized_convolutions(rows: str) -> tuple[Entry, ...]:
    return (
        _entry(
            "CONV_2D",
            f"{rows}:product",
            f"{_OPTIMIZED}/optimized_ops.h HybridConv, HybridConvPerChannel",
            (_is_dense, "no groups"),
        ),
        _entry(
            "CONV_2D",
            f"{rows}:weights-first",
            f"{_REFERENCE}/conv.h HybridConvPerChannel",
            (_has_scales_of_channels, "groups, a scale for each channel"),
        ),
        _entry(
            "DEPTHWISE_CONV_2D",
            f"{rows}:blocks-of-4",
            f"{_OPTIMIZED}/integer_ops/depthwise_conv_hybrid.h DoDepthwiseConvHybridGeneral",
            (_has_scales_of_channels, "a scale for each channel"),
            ("int8",),
        ),
    )


_FULLY_CONNECTED_X86 = _entry(
    "FULLY_CONNECTED",
    "half-added:product",
    f"{_KERNELS}/fully_connected.cc EvalHybridDense; {_OPTIMIZED}/sse_tensor_utils.cc "
    "SseMatrixBatchVectorMultiplyAccumulateImpl",
    (_is_hybrid, "float32 output and bias"),
    ("int8",),
)
HYBRID_REF_X86: tuple[Entry, ...] = (_FULLY_CONNECTED_X86, *_reference_convolutions("half-added"))
HYBRID_BUILTIN_X86: tuple[Entry, ...] = (
    _FULLY_CONNECTED_X86,
    *_optimized_convolutions("half-added"),
)


def _takes_dot_products(s: Signature) -> bool:
    """FULLY_CONNECTED in blocks of 4 rows of activations, on cores with dot products.

    Source: neon_tensor_utils.cc, NeonMatrixBatchVectorMultiplyAccumulate and …Impl.
    """
    units, depth = s.shapes[1]
    rows = prod(s.shapes[0]) // max(1, depth)
    if depth % 16 or units % 2 or units < rows:
        return False
    if units % 4 == 0 and _prefers_gemm(units, depth, rows):
        return False
    return rows % 4 == 0 or (rows >= 2 and units * depth >= 128 * 128)


def _prefers_gemm(units: int, depth: int, rows: int) -> bool:
    """Source: neon_tensor_utils.cc, UseCpuBackendGemm with dot products."""
    longer = max(units // depth, depth // units)
    return rows >= 16 and rows.bit_length() - longer.bit_length() > 2


_FUSED = _entry(
    "FULLY_CONNECTED",
    "away:fused",
    f"{_OPTIMIZED}/neon_tensor_utils.cc NeonMatrixBatchVectorMultiplyAccumulateImpl",
    (_is_hybrid, "float32 output and bias"),
    ("int8",),
)
_DOT_PRODUCTS = _entry(
    "FULLY_CONNECTED",
    "away:product",
    f"{_OPTIMIZED}/neon_tensor_utils.cc DotprodMatrixBatchFourVectorMultiplyAccumulate",
    (
        lambda s: _is_hybrid(s) and _takes_dot_products(s),
        "a depth of whole blocks of 16, an even number of units not below the rows, "
        "rows in blocks of 4 or many weights",
    ),
    ("int8",),
)
_FULLY_CONNECTED_ARM: dict[str, tuple[Entry, ...]] = {
    "cortex-a53": (_FUSED,),
    "cortex-a76": (_DOT_PRODUCTS, _FUSED),
    "": (
        replace(
            _DOT_PRODUCTS,
            evidence=Evidence.ASSUMED,
            tried="measured on Cortex-A76, which has dot products, and on Cortex-A53, which has "
            "none and fuses; the core decides",
        ),
        _FUSED,
    ),
}

_DEPTHWISE_3X3 = _entry(
    "DEPTHWISE_CONV_2D",
    "away:product",
    f"{_OPTIMIZED}/integer_ops/depthwise_conv_hybrid_3x3_filter.h",
    (
        lambda s: _has_scales_of_channels(s) and fits_3x3_kernel(s),
        "window 3x3, stride 1 or 2, a multiple of 8 channels, borders 0 or 1 on all sides",
    ),
    ("int8",),
)


def hybrid_ref_arm(core: str) -> tuple[Entry, ...]:
    """Of the reference resolver on aarch64; `core` is one of `ARM_CORES`."""
    return (*_FULLY_CONNECTED_ARM[core], *_reference_convolutions("away"))


def hybrid_builtin_arm(core: str) -> tuple[Entry, ...]:
    """Of the built-in kernels on aarch64."""
    return (*_FULLY_CONNECTED_ARM[core], _DEPTHWISE_3X3, *_optimized_convolutions("away"))


def _is_delegated(s: Signature) -> bool:
    """Constant weights, symmetric; a bias that is constant or, of FULLY_CONNECTED, absent."""
    bias = s.dtypes[2] if len(s.dtypes) > 2 else ""
    return (
        _is_hybrid(s)
        and s.constant[1]
        and not any(s.zero_points[1])
        and (s.constant[2] if bias else s.op == "FULLY_CONNECTED")
        and s.options.get("weights_format", "DEFAULT") == "DEFAULT"
    )


def _is_delegated_conv(s: Signature) -> bool:
    return _is_conv(s) and _is_delegated(s)


def _becomes_fully_connected(s: Signature) -> bool:
    """Source: XNNPACK src/subgraph/convolution-2d.c, xnn_define_convolution_2d."""
    strides = (s.options.get("stride_h", 1), s.options.get("stride_w", 1))
    units, height, width, depth = s.shapes[1]
    dense = not _has_groups(s) and height == width == 1 and strides == (1, 1)
    return dense and units + depth > 2


def _delegated(
    op: str, semantics: str, file: str, when: Callable[[Signature], bool], words: str
) -> Entry:
    return _entry(op, semantics, f"{_X}/{file}", (when, f"delegated: {words}"), ("int8",))


_GEMM = "operators/fully-connected-nc.c, src/qd8-f32-qc8w-gemm"
_IGEMM = "operators/convolution-nhwc.c, src/qd8-f32-qc8w-igemm"
_QD8: tuple[Entry, ...] = (
    _delegated("FULLY_CONNECTED", "qd8:qd8", _GEMM, _is_delegated, "constant weights"),
    _delegated("CONV_2D", "qd8:qd8", _IGEMM, _is_delegated_conv, "constant weights and bias"),
)
HYBRID_DELEGATED_X86 = _QD8

_KLEIDIAI = "configs/gemm-config.c init_qp8_f32_qc8w_gemm_config: KleidiAI"
_DELEGATED_ARM: dict[str, tuple[Entry, ...]] = {
    "cortex-a53": _QD8,
    "cortex-a76": (
        _delegated("FULLY_CONNECTED", "qp8:product", _KLEIDIAI, _is_delegated, "constant weights"),
        _delegated(
            "CONV_2D",
            "qp8:product",
            f"subgraph/convolution-2d.c; {_KLEIDIAI}",
            lambda s: _is_delegated_conv(s) and _becomes_fully_connected(s),
            "1 x 1, stride 1, no groups",
        ),
        _delegated(
            "CONV_2D",
            "qd8:product",
            "qd8-f32-qc8w-igemm 4x16c4 neondot in assembly",
            lambda s: _is_delegated_conv(s) and prod(s.output_shape[1:3]) > 1,
            "more than one pixel out",
        ),
        *_QD8[1:],
    ),
    "": tuple(
        replace(
            entry,
            evidence=Evidence.ASSUMED,
            tried="measured on Cortex-A53, where it is so, and on Cortex-A76, where kernels with "
            "dot products round otherwise; the core decides",
        )
        for entry in _QD8
    ),
}


def hybrid_delegated_arm(core: str) -> tuple[Entry, ...]:
    """Of XNNPACK on aarch64; `core` is one of `ARM_CORES`."""
    return _DELEGATED_ARM[core]
