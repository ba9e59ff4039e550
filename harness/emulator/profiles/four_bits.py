"""Entries of tensors of 4 bits between ops: moved, quantized, cast; each op unpacks and packs."""

from dataclasses import replace

from harness.arithmetic.profile import Entry, Evidence

_KERNELS = "LiteRT tflite/kernels"


def _entry(op: str, dtype: str, semantics: str, file: str) -> Entry:
    return Entry((op,), (dtype,), semantics, Evidence.MEASURED, f"{_KERNELS}/{file}")


FOUR_BITS_X86: tuple[Entry, ...] = (
    *(
        _entry(op, "int4", "move", f"{op.lower()}.cc")
        for op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "CONCATENATION")
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

FOUR_BITS_ARM = tuple(replace(entry, evidence=Evidence.SOURCE) for entry in FOUR_BITS_X86)
