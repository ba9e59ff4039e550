"""Entries of SOFTMAX and LOG_SOFTMAX."""

from harness.arithmetic.profile import Entry, Evidence

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"

_INT16 = Entry(
    ("SOFTMAX",),
    ("int16",),
    "interpolated",
    Evidence.MEASURED,
    f"{_REFERENCE}/softmax.h SoftmaxInt16, whatever the resolver",
)


def _log(semantics: str) -> Entry:
    return Entry(
        ("LOG_SOFTMAX",),
        ("int8", "uint8"),
        semantics,
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h LogSoftmax",
    )


SOFTMAX_REF: tuple[Entry, ...] = (
    Entry(
        ("SOFTMAX",),
        ("int8", "uint8"),
        "gemmlowp",
        Evidence.MEASURED,
        f"{_REFERENCE}/softmax.h Softmax",
    ),
    Entry(
        ("LOG_SOFTMAX",),
        ("int8", "uint8"),
        "gemmlowp",
        Evidence.MEASURED,
        f"{_REFERENCE}/log_softmax.h, {_REFERENCE}/integer_ops/log_softmax.h LogSoftmax",
    ),
    _INT16,
)
SOFTMAX_BUILTIN_X86: tuple[Entry, ...] = (
    Entry(
        ("SOFTMAX",),
        ("int8",),
        "exp-table",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h Softmax, PopulateSoftmaxLookupTable",
        when=lambda s: s.output == "int8",
        condition="int8 output",
    ),
    Entry(
        ("SOFTMAX",),
        ("uint8",),
        "exp-table-half-added",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h Softmax, QuantizeSoftmaxOutput<uint8_t>",
        when=lambda s: s.output == "uint8",
        condition="uint8 output",
    ),
    _log("exp-table"),
    _INT16,
)
SOFTMAX_BUILTIN_ARM: tuple[Entry, ...] = (
    Entry(
        ("SOFTMAX",),
        ("int8", "uint8"),
        "exp-table-16-bits",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h SoftmaxInt8LUT, PopulateSoftmaxUInt8LookupTable",
        when=lambda s: s.output == s.dtypes[0],
        condition="output of the same dtype",
    ),
    _log("exp-table-fused"),
    _INT16,
)
