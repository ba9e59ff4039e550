"""Entries of TRANSPOSE_CONV."""

from harness.arithmetic.profile import Entry, Evidence
from harness.emulator.profiles import delegation
from harness.emulator.profiles.hybrid_builtin import hybrid_entry, is_conv
from harness.emulator.profiles.shared import has_narrow_sums

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_X = "XNNPACK src"
_OP = ("TRANSPOSE_CONV",)


def _entry(dtype: str, weights: str, semantics: str, reference: str) -> Entry:
    return Entry(_OP, (dtype,), semantics, Evidence.MEASURED, reference, weights=(weights,))


def _narrow(semantics: str, reference: str) -> Entry:
    return Entry(
        _OP,
        ("int16",),
        semantics,
        Evidence.MEASURED,
        reference,
        has_narrow_sums,
        "int32 bias",
        weights=("int8",),
    )


_WIDE = _entry(
    "int16",
    "int8",
    "S8:double",
    f"{_KERNELS}/transpose_conv.cc EvalQuantizedPerChannel16x8, which takes "
    f"{_REFERENCE}/integer_ops/transpose_conv.h whatever the resolver",
)

TRANSPOSE_CONV_REF: tuple[Entry, ...] = (
    _entry("int8", "int8", "S1:double", f"{_REFERENCE}/integer_ops/transpose_conv.h"),
    _entry("uint8", "uint8", "S1:product", f"{_REFERENCE}/transpose_conv.h"),
    _narrow("S1:double", f"{_REFERENCE}/integer_ops/transpose_conv.h"),
    _WIDE,
)
TRANSPOSE_CONV_BUILTIN: tuple[Entry, ...] = (
    _entry(
        "int8",
        "int8",
        "S2-blocks-of-8:double",
        f"{_OPTIMIZED}/integer_ops/transpose_conv.h TransposeConvV2, Quantize",
    ),
    _entry(
        "uint8",
        "uint8",
        "S2-blocks-of-16:product",
        f"{_OPTIMIZED}/optimized_ops.h TransposeConvV2, Quantize",
    ),
    _narrow(
        "S2-blocks-of-8:double",
        f"{_OPTIMIZED}/integer_ops/transpose_conv.h TransposeConvV2, Quantize",
    ),
    _WIDE,
)


def transpose_conv_delegated(uint8: str, evidence: Evidence, tried: str) -> tuple[Entry, ...]:
    """What XNNPACK computes of it; `uint8`, the semantics of its uint8 matrix kernels, and how that
    is known."""
    files = f"{_X}/operators/deconvolution-nhwc.c"
    condition = "delegated: constant size, weights and bias, windows not smaller than the stride"
    return (
        Entry(
            _OP,
            ("int8",),
            "S5:single",
            Evidence.MEASURED,
            f"{files}, {_X}/qs8-qc8w-igemm",
            delegation.takes_transpose_conv,
            condition,
            weights=("int8",),
        ),
        Entry(
            _OP,
            ("uint8",),
            uint8,
            evidence,
            f"{files}, {_X}/qu8-igemm",
            delegation.takes_transpose_conv,
            condition,
            weights=("uint8",),
            tried=tried,
        ),
    )


TRANSPOSE_CONV_HYBRID_X86 = hybrid_entry(
    "TRANSPOSE_CONV",
    "hybrid-scattered:half-added",
    f"{_KERNELS}/transpose_conv.cc EvalHybrid; {_REFERENCE}/transpose_conv.h HybridTransposeConv",
    (is_conv, "float32 output and bias"),
    ("int8",),
)
"""Of every resolver; on aarch64 compilers may round a product and its sum once, and it never ran
there."""


HYBRID_TRANSPOSE_CONV_DELEGATED = hybrid_entry(
    "TRANSPOSE_CONV",
    "qd8:qd8",
    f"{_X}/operators/deconvolution-nhwc.c, {_X}/qd8-f32-qc8w-igemm",
    (
        delegation.takes_hybrid_transpose_conv,
        "delegated: constant size, weights and bias, windows not smaller than the stride",
    ),
    ("int8",),
)
"""As XNNPACK computes it, in the kernels of its hybrid convolution."""
