"""Entries of UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF: one kernel in every resolver."""

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_OPS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF")
_FILES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": f"{_KERNELS}/lstm_eval.cc EvalInteger8x8_16",
    "SVDF": f"{_KERNELS}/internal/reference/svdf.h EvalIntegerSVDF",
}
_TRIED_LSTM = (
    "four models of each kind were equal on a Cortex-A76; but these parts go through SRSHL there, "
    "which rounds other ties, and their 16-bit values cannot be seen from outside"
)
_OPTIONAL = (9, 10, 11, 16, 20, 21, 22, 23)
"""Places of peepholes, projection and layer normalization."""


def _is_plain(s: Signature) -> bool:
    return not any(s.dtypes[place] for place in _OPTIONAL if place < len(s.dtypes))


_FLOAT = Entry(
    _OPS,
    ("float32",),
    "float",
    Evidence.ASSUMED,
    f"{_KERNELS}/lstm_eval.cc EvalFloat, EvalHybrid; internal/reference/svdf.h; the order of "
    "additions is the runtime's own",
)


def _integer(op: str, evidence: Evidence = Evidence.MEASURED, tried: str = "") -> Entry:
    return Entry((op,), ("int8",), "int8-16-S1", evidence, _FILES[op], tried=tried)


RECURRENT_X86: tuple[Entry, ...] = (*(_integer(op) for op in _OPS), _FLOAT)
RECURRENT_ARM: tuple[Entry, ...] = (
    Entry(
        ("UNIDIRECTIONAL_SEQUENCE_LSTM",),
        ("int8",),
        "int8-16-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/internal/optimized/neon_tensor_utils.cc MultiplyByQuantizedMultiplier2Rows, "
        "NeonCwiseMul",
        _is_plain,
        "no peepholes, projection or layer normalization",
    ),
    _integer("UNIDIRECTIONAL_SEQUENCE_LSTM", Evidence.ASSUMED, _TRIED_LSTM),
    _integer("SVDF"),
    _FLOAT,
)
