"""Entries of tensors of 4 bits between ops: moved, quantized, cast; each op unpacks and packs."""

from dataclasses import replace
from math import prod

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"


def _entry(op: str, dtype: str, semantics: str, file: str) -> Entry:
    return Entry((op,), (dtype,), semantics, Evidence.MEASURED, f"{_KERNELS}/{file}")


def _fills_bytes(s: Signature) -> bool:
    """GATHER: of a slice of odd size it leaves out the last half byte."""
    axis = s.options.get("axis", 0)
    return prod(s.shapes[0][axis % len(s.shapes[0]) + 1 :]) % 2 == 0 if s.shapes[0] else False


FOUR_BITS: tuple[Entry, ...] = (
    *(
        _entry(op, "int4", "move", f"{op.lower()}.cc")
        for op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "CONCATENATION")
    ),
    replace(
        _entry("GATHER", "int4", "move", "gather.cc; internal/reference/gather.h Gather"),
        when=_fills_bytes,
        condition="slices of an even size",
    ),
    replace(
        _entry("QUANTIZE", "float32", "affine-away", "quantize.cc AffineQuantizeToInt4"),
        when=lambda s: s.output == "int4",
        condition="int4 output",
    ),
    replace(
        _entry("CAST", "float32", "cast", "cast.cc castFloatToInt4"),
        when=lambda s: s.output == "int4",
        condition="int4 output",
    ),
    replace(
        _entry("CAST", "int4", "cast", "cast.cc castInt4ToFloat"),
        when=lambda s: s.output == "float32",
        condition="float32 output",
    ),
)
"""Of every resolver of LiteRT 2.3.0; PAD, TILE and STRIDED_SLICE refuse int4."""
