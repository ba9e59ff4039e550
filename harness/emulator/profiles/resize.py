"""Entries of the resizes: RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR."""

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"

_INTEGER = Entry(
    ("RESIZE_BILINEAR",),
    ("int8", "int16"),
    "q10",
    Evidence.MEASURED,
    f"{_REFERENCE}/resize_bilinear.h ResizeBilinearInteger, whatever the resolver",
)
_NEAREST = Entry(
    ("RESIZE_NEAREST_NEIGHBOR",),
    ("int8", "uint8", "int16", "float32"),
    "nearest",
    Evidence.MEASURED,
    f"{_REFERENCE}/resize_nearest_neighbor.h GetNearestNeighbor",
)


def _bilinear(semantics: str, reference: str) -> Entry:
    return Entry(("RESIZE_BILINEAR",), ("uint8",), semantics, Evidence.MEASURED, reference)


_NEAREST_Q16 = Entry(
    ("RESIZE_NEAREST_NEIGHBOR",),
    ("uint8",),
    "nearest-q16",
    Evidence.MEASURED,
    f"{_OPTIMIZED}/optimized_ops.h ResizeNearestNeighbor",
)
_SMALL_CHANNEL = f"{_OPTIMIZED}/resize_bilinear.h ResizeBilinearGenericSmallChannel"

RESIZE_REF_ARM = _bilinear(
    "float-by-rows-fused", f"{_REFERENCE}/resize_bilinear.h ResizeBilinear, as compiled"
)
RESIZE_REF: tuple[Entry, ...] = (
    _INTEGER,
    _bilinear("float-by-rows", f"{_REFERENCE}/resize_bilinear.h ResizeBilinear"),
    _NEAREST,
)
RESIZE_BUILTIN_X86: tuple[Entry, ...] = (
    _INTEGER,
    _bilinear("float-by-weights", _SMALL_CHANNEL),
    _NEAREST_Q16,
    _NEAREST,
)
RESIZE_BUILTIN_ARM: tuple[Entry, ...] = (
    _INTEGER,
    _bilinear("float-by-weights-fused", _SMALL_CHANNEL),
    _NEAREST_Q16,
    _NEAREST,
)


def _delegated(s: Signature) -> bool:
    quantized = len(s.scales[0]) == len(s.scales[-1]) == 1
    return quantized and len(s.shapes[0]) == 4 and s.constant[1] and s.output == s.dtypes[0]


def resize_delegated(semantics: str) -> Entry:
    """RESIZE_BILINEAR as XNNPACK computes it; `semantics` differs where products are fused."""
    return Entry(
        ("RESIZE_BILINEAR",),
        ("int8", "uint8"),
        semantics,
        Evidence.MEASURED,
        "XNNPACK src/indirection.c xnn_indirection_init_resize_bilinear2d_hwc_q11, "
        "src/s8-ibilinear, src/u8-ibilinear",
        _delegated,
        "delegated: quantized, four dimensions, constant size",
    )
