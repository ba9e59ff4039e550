"""Entries of hybrid ops as XNNPACK computes them, which takes them as qd8: rows in int8 with zero
points, whatever the op asks for."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.profiles.hybrid_builtin import has_groups, hybrid_entry, is_conv, is_hybrid
from harness.emulator.profiles.matmul import CORES_DIFFER, matmul_delegated

_X = "XNNPACK src"


def _is_delegated(s: Signature) -> bool:
    """Constant weights, symmetric; a bias that is constant or, of FULLY_CONNECTED, absent."""
    bias = s.dtypes[2] if len(s.dtypes) > 2 else ""
    return (
        is_hybrid(s)
        and s.constant[1]
        and not any(s.zero_points[1])
        and (s.constant[2] if bias else s.op == "FULLY_CONNECTED")
        and s.options.get("weights_format", "DEFAULT") == "DEFAULT"
    )


def _is_delegated_conv(s: Signature) -> bool:
    return is_conv(s) and _is_delegated(s)


def _becomes_fully_connected(s: Signature) -> bool:
    """Source: XNNPACK src/subgraph/convolution-2d.c, xnn_define_convolution_2d."""
    strides = (s.options.get("stride_h", 1), s.options.get("stride_w", 1))
    units, height, width, depth = s.shapes[1]
    dense = not has_groups(s) and height == width == 1 and strides == (1, 1)
    return dense and units + depth > 2


def _delegated(
    op: str, semantics: str, file: str, when: Callable[[Signature], bool], words: str
) -> Entry:
    return hybrid_entry(op, semantics, f"{_X}/{file}", (when, f"delegated: {words}"), ("int8",))


_GEMM = "operators/fully-connected-nc.c, src/qd8-f32-qc8w-gemm"
_IGEMM = "operators/convolution-nhwc.c, src/qd8-f32-qc8w-igemm"
_QD8: tuple[Entry, ...] = (
    _delegated("FULLY_CONNECTED", "qd8:qd8", _GEMM, _is_delegated, "constant weights"),
    _delegated("CONV_2D", "qd8:qd8", _IGEMM, _is_delegated_conv, "constant weights and bias"),
)


def _narrow(semantics: str, dtype: str, evidence: Evidence = Evidence.MEASURED) -> Entry:
    """FULLY_CONNECTED by weights of 4 and 2 bits, rows of which fill whole bytes."""
    each = {"int4": 2, "int2": 4}[dtype]

    def when(s: Signature) -> bool:
        scaled = dtype == "int4" or len(s.scales[1]) == s.shapes[1][0]
        return _is_delegated(s) and scaled and s.shapes[1][-1] % each == 0

    words = "delegated: constant weights, an even depth"
    if dtype == "int2":
        words = "delegated: constant weights per channel, a depth of whole fours"
    entry = hybrid_entry(
        "FULLY_CONNECTED", semantics, f"{_X}/qd8-f32-qc{8 // each}w-gemm", (when, words), (dtype,)
    )
    tried = CORES_DIFFER if evidence is Evidence.ASSUMED else ""
    return replace(entry, evidence=evidence, tried=tried)


def _by_blocks(s: Signature) -> bool:
    """Source: xnnpack_delegate.cc, GetXNNPackDatatype and what checks FULLY_CONNECTED's filter."""
    return _is_delegated(s) and s.block_size > 0 and s.block_size % 32 == 0


_BLOCKS_X86 = replace(
    hybrid_entry(
        "FULLY_CONNECTED",
        "hybrid-blockwise:qd8",
        f"{_X}/qd8-f32-qb4w-gemm/gen/qd8-f32-qb4w-gemm-3x8c8-minmax-avx2.c; "
        f"{_X}/reference/packing.cc xnn_pack_qs8_qb4w_gemm_goi_w",
        (_by_blocks, "delegated: constant weights, a scale for each block of whole 32 elements"),
        ("int4",),
    ),
    evidence=Evidence.ASSUMED,
    tried="80 runs equal on a processor with AVX2, whose kernels add up in four lanes; those of "
    "processors with VNNI have other lanes, and which kernel runs is not visible from outside",
)

HYBRID_DELEGATED_X86 = (
    _BLOCKS_X86,
    *_QD8,
    _narrow("qd8:qd8", "int4"),
    _narrow("qd8:qd8", "int2"),
    *matmul_delegated("hybrid:qd8:qd8"),
)


_KLEIDIAI = "configs/gemm-config.c init_qp8_f32_qc8w_gemm_config: KleidiAI"
_DELEGATED_ARM: dict[str, tuple[Entry, ...]] = {
    "cortex-a53": (
        *_QD8,
        _narrow("qd8:qd8", "int4"),
        _narrow("qd8:rows-first", "int2"),
        *matmul_delegated("hybrid:qd8:qd8"),
    ),
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
        _narrow("qp8:product", "int4"),
        _narrow("qd8:qd8", "int2"),
        *matmul_delegated("hybrid:qp8:product"),
    ),
    "": (
        *matmul_delegated("hybrid:qd8:qd8", known_core=False),
        _narrow("qd8:qd8", "int4", Evidence.ASSUMED),
        _narrow("qd8:qd8", "int2", Evidence.ASSUMED),
        *(replace(entry, evidence=Evidence.ASSUMED, tried=CORES_DIFFER) for entry in _QD8),
    ),
}


def hybrid_delegated_arm(core: str) -> tuple[Entry, ...]:
    """Of XNNPACK on aarch64; `core` is one of `ARM_CORES`."""
    return _DELEGATED_ARM[core]
