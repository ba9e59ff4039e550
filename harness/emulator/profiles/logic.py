"""Entries of comparisons, logic, choices, casts and what makes values: alike in every runtime."""

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_EQUALITY = ("EQUAL", "NOT_EQUAL")
_ORDER = ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
_INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
_ANY = (*_INTEGERS, "float32", "bool")
_COUNTED = ("int8", "uint8", "int32", "int64", "float32", "bool")


def _both_quantized(s: Signature) -> bool:
    return bool(s.scales[0] and s.scales[1])


def _quantized(ops: tuple[str, ...], dtypes: tuple[str, ...]) -> Entry:
    return Entry(
        ops,
        dtypes,
        "rescaled-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/comparisons.cc ComparisonQuantized",
        _both_quantized,
        "quantized, scales below 1",
    )


def _entry(ops: tuple[str, ...], dtypes: tuple[str, ...], semantics: str, files: str) -> Entry:
    return Entry(ops, dtypes, semantics, Evidence.MEASURED, f"{_KERNELS}/{files}")


LOGIC_ENTRIES: tuple[Entry, ...] = (
    _quantized(_EQUALITY, ("int8", "uint8", "int16")),
    _quantized(_ORDER, ("int8", "uint8")),
    _entry(_EQUALITY, ("int32", "int64", "float32", "bool"), "plain", "comparisons.cc"),
    _entry(_ORDER, ("int16", "int32", "int64", "float32"), "plain", "comparisons.cc"),
    _entry(("ADD", "SUB", "MUL"), ("int32", "int64"), "wrapping", "add.cc, sub.cc, mul.cc"),
    _entry(("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT"), ("bool",), "plain", "logical.cc"),
    _entry(("FLOOR_DIV",), ("int8", "int16", "int32", "float32"), "plain", "floor_div.cc"),
    _entry(("FLOOR_MOD",), ("int8", "int16", "int32", "int64", "float32"), "plain", "floor_mod.cc"),
    _entry(("SELECT", "SELECT_V2"), ("bool",), "move", "select.cc"),
    _entry(("WHERE",), _COUNTED, "move", "where.cc"),
    _entry(("CAST",), _ANY, "cast", "cast.cc"),
    _entry(("FILL",), ("int32", "int64"), "move", "fill.cc"),
    _entry(("ZEROS_LIKE",), ("int32", "int64", "float32"), "move", "zeros_like.cc"),
    _entry(("ONE_HOT",), ("int32", "int64"), "move", "one_hot.cc"),
    _entry(("EMBEDDING_LOOKUP",), ("int32",), "move", "embedding_lookup.cc EvalSimple"),
    Entry(
        ("RANGE",),
        ("int32", "int64", "float32"),
        "move",
        Evidence.MEASURED,
        f"{_KERNELS}/range.cc CalculateRange",
    ),
)
