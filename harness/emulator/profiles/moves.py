"""Entries of the ops that move values and compute none: they hold in every runtime."""

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_EIGHT_BIT = ("int8", "uint8")
_INTEGERS = (*_EIGHT_BIT, "int16", "int32", "int64")
_ANY = (*_INTEGERS, "float32", "bool", "float16")


def _move(ops: tuple[str, ...], dtypes: tuple[str, ...], files: str) -> Entry:
    reference = f"values are copied, not computed: {_KERNELS}/{files}"
    return Entry(ops, dtypes, "move", Evidence.MEASURED, reference)


MOVE_ENTRIES: tuple[Entry, ...] = (
    _move(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _ANY, "reshape.cc, squeeze.cc, expand_dims.cc"),
    _move(("TRANSPOSE", "REVERSE_V2"), _ANY, "transpose.cc, reverse.cc"),
    _move(("SLICE", "STRIDED_SLICE"), _ANY, "slice.cc, strided_slice.cc"),
    _move(("SPLIT", "SPLIT_V"), (*_INTEGERS, "float32"), "split.cc, split_v.cc"),
    _move(("PACK",), (*_INTEGERS, "float32"), "pack.cc"),
    _move(("UNPACK",), (*_EIGHT_BIT, "int16", "int32", "float32", "bool", "float16"), "unpack.cc"),
    _move(("CONCATENATION",), _ANY, "concatenation.cc"),
    _move(("GATHER", "GATHER_ND"), _ANY, "gather.cc, gather_nd.cc"),
    _move(("TILE", "BROADCAST_TO"), _ANY, "tile.cc, broadcast_to.cc"),
    _move(("PAD", "PADV2", "MIRROR_PAD"), _ANY, "pad.cc, mirror_pad.cc"),
    _move(
        ("SPACE_TO_DEPTH", "DEPTH_TO_SPACE"),
        (*_EIGHT_BIT, "int32", "int64", "float32"),
        "space_to_depth.cc, depth_to_space.cc",
    ),
    _move(
        ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        (*_INTEGERS, "float32", "float16"),
        "space_to_batch_nd.cc, batch_to_space_nd.cc",
    ),
    _move(("SHAPE",), _ANY, "shape.cc"),
)


def _differ(s: Signature) -> bool:
    return len({*zip(s.scales, s.zero_points, strict=True)}) > 1


def rescaled_concatenation(semantics: str) -> Entry:
    """CONCATENATION of uint8 inputs quantized unlike the output; every resolver computes it in
    float32, and XNNPACK does not take it; `semantics` differs where products are fused."""
    return Entry(
        ("CONCATENATION",),
        ("uint8",),
        semantics,
        Evidence.MEASURED,
        f"{_KERNELS}/internal/reference/concatenation.h ConcatenationWithScaling",
        _differ,
        "an input is quantized unlike the output",
    )
