"""Entries of hybrid ops: float32 activations on integer weights. Their float outputs are exact.

Every resolver quantizes activations with the same optimized code (`tensor_utils`), and 8-bit
FULLY_CONNECTED has one kernel for all; convolutions differ between reference and optimized kernels.
"""

from collections.abc import Callable

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_REFERENCE = f"{_KERNELS}/internal/reference"
_X = "XNNPACK src"

_SMALL = ("int8", "int4")


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
    (_is_hybrid, ""),
    ("int8",),
)

HYBRID_REF_X86: tuple[Entry, ...] = (_FULLY_CONNECTED_X86, *_reference_convolutions("half-added"))
HYBRID_BUILTIN_X86: tuple[Entry, ...] = (
    _FULLY_CONNECTED_X86,
    *_optimized_convolutions("half-added"),
)


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


HYBRID_DELEGATED: tuple[Entry, ...] = (
    _entry(
        "FULLY_CONNECTED",
        "qd8:qd8",
        f"{_X}/operators/fully-connected-nc.c, {_X}/qd8-f32-qc8w-gemm",
        (_is_delegated, "delegated: constant weights"),
        ("int8",),
    ),
    _entry(
        "CONV_2D",
        "qd8:qd8",
        f"{_X}/operators/convolution-nhwc.c, {_X}/qd8-f32-qc8w-igemm",
        (lambda s: _is_conv(s) and _is_delegated(s), "delegated: constant weights and bias"),
        ("int8",),
    ),
)
