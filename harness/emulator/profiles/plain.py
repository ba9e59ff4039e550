"""Entries of what is not quantized beside what is: sizes, positions, masks, caches. Alike in every
resolver of LiteRT 2.3.0."""

from harness.arithmetic.profile import Entry, Evidence, Signature

_K = "LiteRT tflite/kernels"
_R = f"{_K}/internal/reference"
_ANY = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool", "float16")
_BOTH = ("int32", "int64")


def _entry(ops: tuple[str, ...], dtypes: tuple[str, ...], semantics: str, file: str) -> Entry:
    return Entry(ops, dtypes, semantics, Evidence.MEASURED, file)


def _not_quantized(s: Signature) -> bool:
    return not s.scales[0]


PLAIN_ENTRIES: tuple[Entry, ...] = (
    _entry(("MINIMUM", "MAXIMUM"), _BOTH, "raw", f"{_K}/maximum_minimum.cc"),
    _entry(("NEG",), _BOTH, "raw", f"{_R}/neg.h Negate"),
    _entry(("ABS",), ("int32",), "wrapping", f"{_K}/elementwise.cc AbsEval"),
    _entry(("SQUARED_DIFFERENCE",), ("int32",), "wrapping", f"{_K}/squared_difference.cc"),
    _entry(("DIV",), ("int32",), "truncated", f"{_K}/div.cc EvalDiv; {_R}/div.h Div"),
    _entry(("MEAN",), _BOTH, "truncated", f"{_K}/reduce.cc EvalMean; {_R}/reduce.h Mean"),
    _entry(("CUMSUM",), _BOTH, "wrapping", f"{_K}/cumsum.cc"),
    _entry(("CAST",), ("float16",), "cast", f"{_K}/cast.cc"),
    _entry(("RANK",), _ANY, "move", f"{_K}/rank.cc"),
    _entry(("DYNAMIC_UPDATE_SLICE",), _ANY, "move", f"{_K}/dynamic_update_slice.cc"),
    _entry(
        ("RESIZE_NEAREST_NEIGHBOR",),
        ("int32", "bool", "float16"),
        "nearest",
        f"{_R}/resize_nearest_neighbor.h GetNearestNeighbor",
    ),
    Entry(
        ("EQUAL",),
        ("int16",),
        "plain",
        Evidence.MEASURED,
        f"{_K}/comparisons.cc EqualEval; NotEqualEval computes nothing of it",
        _not_quantized,
        "not quantized",
    ),
)
