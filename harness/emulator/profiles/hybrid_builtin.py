"""Entries of hybrid ops: float32 activations on integer weights. Their float outputs are exact.

Every resolver quantizes activations with the same optimized code (`tensor_utils`), and 8-bit
FULLY_CONNECTED has one kernel for all; convolutions differ between reference and optimized kernels.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.profiles.matmul import matmul
from harness.emulator.profiles.matrix import fits_3x3_kernel

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_REFERENCE = f"{_KERNELS}/internal/reference"

_SMALL = ("int8", "int4")
_ANY = ("int8", "int4", "int2")

ARM_CORES = {
    "": "core not known",
    "cortex-a53": "Cortex-A53, which has no dot products",
    "cortex-a76": "Cortex-A76, which has dot products",
}
"""Cores of which profiles of their own exist, and what tells them apart."""


def is_hybrid(s: Signature) -> bool:
    """Of an op with float32 activations: its output and bias are, too."""
    return s.output == "float32" and (len(s.dtypes) < 3 or s.dtypes[2] in {"", "float32"})


def is_conv(s: Signature) -> bool:
    """The same of a convolution, of four dimensions."""
    return is_hybrid(s) and len(s.shapes[0]) == len(s.shapes[1]) == 4


def has_groups(s: Signature) -> bool:
    """Weights of CONV_2D that see a part of the channels."""
    return s.shapes[0][-1] != s.shapes[1][-1]


def _is_dense(s: Signature) -> bool:
    return is_conv(s) and not has_groups(s)


def _is_dense_with_one_scale(s: Signature) -> bool:
    return _is_dense(s) and len(set(s.scales[1])) == 1


def _has_scales_of_channels(s: Signature) -> bool:
    return is_conv(s) and len(s.scales[1]) == s.output_shape[-1]


def hybrid_entry(
    op: str,
    semantics: str,
    file: str,
    condition: tuple[Callable[[Signature], bool], str],
    weights: tuple[str, ...] = _SMALL,
) -> Entry:
    """A measured entry of one op on float32.

    Args:
        semantics: what follows ``hybrid:``, or a whole name that begins with ``hybrid``.
        condition: when it holds, and that in words.
        weights: their dtypes.
    """
    when, words = condition
    return Entry(
        (op,),
        ("float32",),
        semantics if semantics.startswith("hybrid") else f"hybrid:{semantics}",
        Evidence.MEASURED,
        file,
        when,
        words,
        weights,
    )


def _reference_convolutions(rows: str) -> tuple[Entry, ...]:
    """`rows` is how rows are quantized."""
    return (
        hybrid_entry(
            "CONV_2D",
            f"{rows}:product",
            f"{_OPTIMIZED}/optimized_ops.h HybridConv, which the reference resolver takes too",
            (_is_dense_with_one_scale, "no groups, one scale"),
        ),
        hybrid_entry(
            "CONV_2D",
            f"{rows}:weights-first",
            f"{_REFERENCE}/conv.h HybridConvPerChannel",
            (_has_scales_of_channels, "a scale for each channel"),
        ),
        hybrid_entry(
            "DEPTHWISE_CONV_2D",
            f"{rows}:product",
            f"{_REFERENCE}/integer_ops/depthwise_conv.h DepthwiseConvHybridPerChannel",
            (_has_scales_of_channels, "a scale for each channel"),
            ("int8",),
        ),
    )


def _optimized_convolutions(rows: str) -> tuple[Entry, ...]:
    return (
        hybrid_entry(
            "CONV_2D",
            f"{rows}:product",
            f"{_OPTIMIZED}/optimized_ops.h HybridConv, HybridConvPerChannel",
            (_is_dense, "no groups"),
        ),
        hybrid_entry(
            "CONV_2D",
            f"{rows}:weights-first",
            f"{_REFERENCE}/conv.h HybridConvPerChannel",
            (_has_scales_of_channels, "groups, a scale for each channel"),
        ),
        hybrid_entry(
            "DEPTHWISE_CONV_2D",
            f"{rows}:blocks-of-4",
            f"{_OPTIMIZED}/integer_ops/depthwise_conv_hybrid.h DoDepthwiseConvHybridGeneral",
            (_has_scales_of_channels, "a scale for each channel"),
            ("int8",),
        ),
    )


_FULLY_CONNECTED_X86 = hybrid_entry(
    "FULLY_CONNECTED",
    "half-added:product",
    f"{_KERNELS}/fully_connected.cc EvalHybridDense; {_OPTIMIZED}/sse_tensor_utils.cc "
    "SseMatrixBatchVectorMultiplyAccumulateImpl",
    (is_hybrid, "float32 output and bias"),
    _ANY,
)
_EMBEDDING = Entry(
    ("EMBEDDING_LOOKUP",),
    ("int32",),
    "scaled",
    Evidence.MEASURED,
    f"{_KERNELS}/embedding_lookup.cc EvalHybrid",
    lambda s: s.output == "float32",
    "float32 output",
    ("int8", "int4"),
)


_EMBEDDING_BLOCKS = replace(
    _EMBEDDING,
    semantics="scaled-blocks",
    reference=f"{_KERNELS}/embedding_lookup.cc EvalBlockwise",
    when=lambda s: s.output == "float32" and s.block_size > 0,
    condition="a scale for each block, float32 output",
    weights=("int4", "int2"),
)


def _fits_4_bit_kernel(s: Signature) -> bool:
    """Source: fully_connected.cc, PrepareImpl."""
    units, depth = s.shapes[1]
    return is_hybrid(s) and s.constant[1] and units >= 4 and depth >= 32 and depth % 2 == 0


def _four_bits(sums: str) -> Entry:
    return hybrid_entry(
        "FULLY_CONNECTED",
        f"hybrid-4-bit:{sums}",
        f"{_OPTIMIZED}/4bit; {_KERNELS}/fully_connected.cc EvalHybridDense4Bit",
        (_fits_4_bit_kernel, "constant weights, even depth of at least 32, at least 4 units"),
        ("int4",),
    )


def _by_blocks(semantics: str) -> Entry:
    return hybrid_entry(
        "FULLY_CONNECTED",
        f"hybrid-{semantics}",
        f"{_KERNELS}/fully_connected.cc EvalBlockwise4Bit",
        (
            lambda s: _fits_4_bit_kernel(s) and s.block_size > 0,
            "a scale for each block; constant weights, even depth of at least 32, at least 4 units",
        ),
        ("int4",),
    )


HYBRID_REF_X86: tuple[Entry, ...] = (
    _EMBEDDING_BLOCKS,
    _EMBEDDING,
    _FULLY_CONNECTED_X86,
    *matmul("half-added"),
    *_reference_convolutions("half-added"),
)
HYBRID_BUILTIN_X86: tuple[Entry, ...] = (
    _EMBEDDING_BLOCKS,
    _EMBEDDING,
    _by_blocks("blockwise:half-added"),
    _four_bits("product"),
    _FULLY_CONNECTED_X86,
    *matmul("half-added"),
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


_FUSED = hybrid_entry(
    "FULLY_CONNECTED",
    "away:fused",
    f"{_OPTIMIZED}/neon_tensor_utils.cc NeonMatrixBatchVectorMultiplyAccumulateImpl",
    (is_hybrid, "float32 output and bias"),
    _ANY,
)
_DOT_PRODUCTS = hybrid_entry(
    "FULLY_CONNECTED",
    "away:product",
    f"{_OPTIMIZED}/neon_tensor_utils.cc DotprodMatrixBatchFourVectorMultiplyAccumulate",
    (
        lambda s: is_hybrid(s) and _takes_dot_products(s),
        "a depth of whole blocks of 16, an even number of units not below the rows, "
        "rows in blocks of 4 or many weights",
    ),
    _ANY,
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

_DEPTHWISE_3X3 = hybrid_entry(
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
    return (
        _EMBEDDING_BLOCKS,
        _EMBEDDING,
        *_FULLY_CONNECTED_ARM[core],
        *matmul("away"),
        *_reference_convolutions("away"),
    )


def hybrid_builtin_arm(core: str) -> tuple[Entry, ...]:
    """Of the built-in kernels on aarch64."""
    return (
        _EMBEDDING_BLOCKS,
        _EMBEDDING,
        _four_bits("fused"),
        *_FULLY_CONNECTED_ARM[core],
        *matmul("away"),
        _DEPTHWISE_3X3,
        *_optimized_convolutions("away"),
    )
