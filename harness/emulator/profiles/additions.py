"""Entries of ADD in LiteRT's optimized kernels."""

from collections.abc import Callable

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.ops.broadcast import walk

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"


def _walks(kind: str) -> Callable[[Signature], bool]:
    return lambda s: len(s.shapes) == 2 and walk(s.shapes[0], s.shapes[1]).kind == kind


def _add(dtype: str, kind: str, semantics: str, functions: str, condition: str) -> Entry:
    files = f"{_OPTIMIZED}/{functions}"
    return Entry(("ADD",), (dtype,), semantics, Evidence.MEASURED, files, _walks(kind), condition)


ADD_BUILTIN: tuple[Entry, ...] = (
    Entry(
        ("ADD",),
        ("int16",),
        "shifted-once-blocks-of-16",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/add.h AddElementwiseInt16",
        when=lambda s: s.shapes[0] == s.shapes[1],
        condition="equal shapes",
    ),
    _add(
        "int8",
        "pairs",
        "shifted-once-blocks-of-16",
        "integer_ops/add.h AddElementwiseInt8",
        "equal last dimensions, or equal shapes",
    ),
    _add(
        "int8",
        "scalar",
        "shifted-floored-blocks-of-8",
        "integer_ops/add.h AddScalarBroadcast",
        "one input repeated along the last axis",
    ),
    _add(
        "uint8",
        "pairs",
        "shifted-floored-blocks-of-8",
        "optimized_ops.h AddElementwise",
        "equal last dimensions, or equal shapes",
    ),
    _add(
        "uint8",
        "scalar",
        "shifted-floored-blocks-of-8",
        "optimized_ops.h AddScalarBroadcast",
        "one input repeated along the last axis",
    ),
    Entry(
        ("ADD",),
        ("int8", "uint8"),
        "shifted-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/internal/reference/add.h BroadcastAdd6DSlow",
        _walks("generic"),
        "broadcast along more axes",
    ),
)
