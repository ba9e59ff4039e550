"""Entries of int16 activations whose sums are int32: with an int32 bias, or an absent one that
would be int32."""

from collections.abc import Callable

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.profiles.matrix import takes_reference
from harness.emulator.profiles.shared import has_narrow_sums

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"


def _entry(
    op: str, semantics: str, reference: str, conditions: tuple[Callable[[Signature], bool], str]
) -> Entry:
    when, words = conditions
    return Entry(
        (op,), ("int16",), semantics, Evidence.MEASURED, reference, when, words, weights=("int8",)
    )


_NARROW = (has_narrow_sums, "int32 bias")


def _no_int64_bias(s: Signature) -> bool:
    bias = s.dtypes[2] if len(s.dtypes) > 2 else ""
    kind = bias or s.options.get("quantized_bias_type")
    return kind != "int64" and not any(any(z) for z in s.zero_points[:2])


def _per_channel(s: Signature) -> bool:
    return _no_int64_bias(s) and s.per_channel


NARROW_REF: tuple[Entry, ...] = (
    _entry("CONV_2D", "S1:double", f"{_REFERENCE}/integer_ops/conv.h ConvPerChannel", _NARROW),
    _entry("FULLY_CONNECTED", "S4:double", f"{_REFERENCE}/integer_ops/fully_connected.h", _NARROW),
    _entry(
        "FULLY_CONNECTED",
        "S4:double",
        f"{_REFERENCE}/integer_ops/fully_connected.h",
        (lambda s: s.dtypes[2:3] in {(), ("",)}, "no bias"),
    ),
)


def narrow_builtin(rounding: str) -> tuple[Entry, ...]:
    """Of the optimized kernels; `rounding` of ruy's 16-bit ones on that machine."""
    gemm = f"{_KERNELS}/cpu_backend_gemm_ruy.h; ruy apply_multiplier.cc"
    return (
        _entry(
            "CONV_2D",
            "S1:double",
            f"{_KERNELS}/conv.cc EvalQuantizedPerChannel16x8: the reference kernel",
            (
                lambda s: has_narrow_sums(s) and takes_reference(s),
                "int32 bias; groups, or an unfolded input of 1 GB",
            ),
        ),
        _entry(
            "CONV_2D",
            f"{rounding}:double",
            f"{_OPTIMIZED}/integer_ops/conv.h ConvPerChannel for int16; {gemm}",
            _NARROW,
        ),
        _entry(
            "FULLY_CONNECTED",
            f"{rounding}:double",
            f"{_OPTIMIZED}/integer_ops/fully_connected.h FullyConnectedPerChannel; {gemm}",
            (_per_channel, "int32 bias or none, per channel"),
        ),
        _entry(
            "FULLY_CONNECTED",
            f"{rounding}:product",
            f"{_OPTIMIZED}/integer_ops/fully_connected.h FullyConnected; {gemm}",
            (_no_int64_bias, "int32 bias or none, per tensor"),
        ),
    )
