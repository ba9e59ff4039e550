"""tflite-runtime 2.14 on aarch64, which boards of that age carry: optimized built-in kernels.

It does not delegate by default. Its matrix products go through gemmlowp where today's go through
ruy, and gcc built it, which leaves SOFTMAX its table of float32.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence, Signature
from harness.emulator.profiles.litert_builtin import BUILTIN_ARM_ENTRIES
from harness.emulator.profiles.matrix import is_one_column
from harness.emulator.profiles.moves import MOVE_ENTRIES
from harness.emulator.profiles.narrow import narrow_builtin
from harness.emulator.profiles.shared import FLOAT_ENTRIES

_K = "TensorFlow 2.14 lite/kernels"
Condition = Callable[[Signature], bool]

_GEMMLOWP = f"{_K}/cpu_backend_gemm_gemmlowp.h; gemmlowp internal/output_sse.h, fixedpoint.h"
_GEMV = f"{_K}/cpu_backend_gemm_custom_gemv.h CustomGemvImpl"

_ABSENT: dict[str, tuple[str, ...]] = {
    "BATCH_TO_SPACE_ND": ("float16",),
    "CONCATENATION": ("float16",),
    "DIV": ("int8", "int16"),
    "GATHER": ("float16",),
    "GATHER_ND": ("float16", "bool"),
    "GELU": ("int16",),
    "GREATER": ("int16",),
    "LESS_EQUAL": ("int16",),
    "LOG": ("int8", "int16"),
    "MIRROR_PAD": ("float16", "bool"),
    "NEG": ("int8", "int16"),
    "NOT_EQUAL": ("int16",),
    "PAD": ("float16", "bool"),
    "PADV2": ("float16", "bool"),
    "PRELU": ("int16",),
    "REVERSE_V2": ("float16",),
    "RSQRT": ("int16",),
    "SLICE": ("float16",),
    "SPACE_TO_BATCH_ND": ("float16",),
    "SPLIT": ("int64",),
    "SQRT": ("int8", "int16"),
    "STRIDED_SLICE": ("float16",),
    "TILE": ("float16", "int16"),
    "TRANSPOSE": ("float16",),
    "UNPACK": ("float16",),
}
"""What it refuses, by operator."""

_NOT_JUDGED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ADD", "SUB", "MUL"), ("int32", "int64")),
    "QUANTIZE": ("int32",),
    "RANGE": ("int32", "int64", "float32"),
    "SVDF": ("int8",),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("int8",),
}
"""What today's kernels compute, and nobody has held against 2.14."""


def _alike(s: Signature) -> bool:
    return s.dtypes[1] == s.dtypes[0] == s.output


def _alike_per_channel(s: Signature) -> bool:
    return _alike(s) and s.per_channel


def _alike_per_tensor(s: Signature) -> bool:
    return _alike(s) and not s.per_channel


def _in_one_column(holds: Condition) -> Condition:
    return lambda s: holds(s) and s.shapes[0][-1] == s.shapes[1][-1] and is_one_column(s)


_PRODUCTS: tuple[Entry, ...] = tuple(
    Entry(
        (op,), (dtype,), f"{rounding}:{multiplier}", Evidence.MEASURED, file, when, ", ".join(words)
    )
    for op, dtype, multiplier, holds, kind in (
        ("CONV_2D", "int8", "double", _alike, "int8 weights"),
        ("CONV_2D", "uint8", "product", _alike, "uint8 weights"),
        ("FULLY_CONNECTED", "int8", "double", _alike_per_channel, "per channel"),
        ("FULLY_CONNECTED", "int8", "product", _alike_per_tensor, "per tensor"),
        ("FULLY_CONNECTED", "uint8", "product", _alike, "uint8 weights"),
    )
    for rounding, file, when, words in (
        ("S2", _GEMV, _in_one_column(holds), (kind, "one column of >= 4 rows, depth >= 8")),
        ("S1", _GEMMLOWP, holds, (kind,)),
    )
)


def _int16(semantics: str, condition: str, when: Condition) -> Entry:
    return Entry(
        ("FULLY_CONNECTED",),
        ("int16",),
        semantics,
        Evidence.MEASURED,
        f"{_K}/fully_connected.cc FullyConnectedInt16, FullyConnectedPerChannelInt16",
        lambda s: s.dtypes[1] == "int8" and when(s),
        condition,
    )


def _flat_per_channel(s: Signature) -> bool:
    """With more dimensions it leaves part of its output as it was."""
    return s.per_channel and len(s.output_shape) == 2


def _has_bias(s: Signature) -> bool:
    return len(s.dtypes) > 2 and s.dtypes[2] == "int64"


_INT16_PRODUCTS: tuple[Entry, ...] = (
    _int16(
        "S8:double",
        "per channel, two dimensions, int64 bias",
        lambda s: _flat_per_channel(s) and _has_bias(s),
    ),
    _int16("S8:product", "per tensor, int64 bias", lambda s: not s.per_channel and _has_bias(s)),
    *narrow_builtin("S3"),
)


def _int16_transpose(semantics: str, file: str, when: Condition | None, condition: str) -> Entry:
    return Entry(
        ("TRANSPOSE_CONV",),
        ("int16",),
        semantics,
        Evidence.MEASURED,
        f"{_K}/internal/{file}",
        when,
        condition,
        weights=("int8",),
    )


def _fits_any_integer(s: Signature) -> bool:
    """It converts floats to narrow integers modulo their width where they do not fit."""
    return s.dtypes[0] != "float32" or s.output not in {"int8", "uint8", "int16"}


def _several_factors(s: Signature) -> bool:
    return prod(s.shapes[0]) > prod(s.output_shape)


_OTHER: tuple[Entry, ...] = (
    Entry(
        ("SOFTMAX",),
        ("int8", "uint8"),
        "exp-table",
        Evidence.MEASURED,
        f"{_K}/internal/optimized/optimized_ops.h Softmax, built with gcc",
        lambda s: s.output == s.dtypes[0],
        "output of the same dtype",
    ),
    Entry(
        ("SUM",),
        ("int16",),
        "wrapping",
        Evidence.MEASURED,
        f"{_K}/reduce.cc: plain sums in int16; it refuses scales that differ",
    ),
    Entry(
        ("REDUCE_PROD",),
        ("int8", "int16"),
        "S8-each-step",
        Evidence.MEASURED,
        f"{_K}/internal/reference/reduce.h QuantizedReduceProd; of one factor it gives garbage",
        _several_factors,
        "more than one factor",
    ),
    _int16_transpose(
        "S8:double",
        "reference/integer_ops/transpose_conv.h",
        lambda s: s.dtypes[2:3] == ("int64",),
        "int64 bias",
    ),
    _int16_transpose(
        "S2-blocks-of-8:double",
        "optimized/integer_ops/transpose_conv.h",
        lambda s: s.dtypes[2:3] in {(), ("",), ("int32",)},
        "int32 bias or none",
    ),
    Entry(
        ("LEAKY_RELU",),
        ("int8", "uint8"),
        "S1:single-signed",
        Evidence.MEASURED,
        f"{_K}/internal/optimized/integer_ops/leaky_relu.h QuantizeLeakyRelu",
    ),
    Entry(
        ("RESIZE_BILINEAR",),
        ("uint8",),
        "float-by-weights-fused",
        Evidence.ASSUMED,
        f"{_K}/internal/optimized/resize_bilinear.h, built with gcc",
        tried="122 runs: 7 elements differ by 1; also without fused products, by "
        "rows, with the other product of the first sum rounded, and with fused positions",
    ),
    Entry(
        ("CAST",),
        ("int8", "uint8", "int16", "int32", "int64", "float32", "bool"),
        "cast",
        Evidence.MEASURED,
        f"{_K}/cast.cc",
        _fits_any_integer,
        "not from float32 to 8 or 16 bits",
    ),
    Entry(
        ("REVERSE_V2",),
        ("int8", "uint8", "int16", "int32", "int64", "float32", "bool"),
        "move-first-axis",
        Evidence.MEASURED,
        f"{_K}/reverse.cc, which reverses along the first of several axes only",
    ),
)

_OVERRIDDEN = {
    *(("CAST", d) for d in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")),
    *((op, d) for op in ("CONV_2D", "FULLY_CONNECTED", "SOFTMAX") for d in ("int8", "uint8")),
    ("FULLY_CONNECTED", "int16"),
    ("REDUCE_PROD", "int16"),
    ("REDUCE_PROD", "int8"),
    ("SUM", "int16"),
    ("TRANSPOSE_CONV", "int16"),
}
"""Where an entry above does not hold, today's must not either."""


def _kept(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """Today's entries without the operators and dtypes that 2.14 lacks or computes otherwise."""
    for entry in entries:
        for op in entry.ops:
            gone = {dtype for name, dtype in _OVERRIDDEN if name == op}
            gone |= {*_ABSENT.get(op, ()), *_NOT_JUDGED.get(op, ())}
            if op == "QUANTIZE" and not entry.condition:
                gone |= {"int8", "uint8"}  # to 8 bits alone, which has an entry of its own
            dtypes = tuple(dtype for dtype in entry.dtypes if dtype not in gone)
            if dtypes:
                yield replace(entry, ops=(op,), dtypes=dtypes)


TFLITE_RUNTIME_2_14_ARM = ArithmeticProfile(
    "tflite-runtime-2.14-arm",
    "tflite-runtime 2.14.0, optimized built-in kernels, aarch64 Linux, one thread",
    (
        *_PRODUCTS,
        *_INT16_PRODUCTS,
        *_OTHER,
        *_kept((*BUILTIN_ARM_ENTRIES, *MOVE_ENTRIES)),
        *FLOAT_ENTRIES,
    ),
    kernels="builtin",
)
