"""Entries of UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF: one kernel in every resolver."""

from harness.arithmetic.profile import Entry, Evidence

_KERNELS = "LiteRT tflite/kernels"
_OPS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF")
_FILES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": f"{_KERNELS}/lstm_eval.cc EvalInteger8x8_16",
    "SVDF": f"{_KERNELS}/internal/reference/svdf.h EvalIntegerSVDF",
}
_TRIED_LSTM = (
    "equal on x86-64; on aarch64 vector code of internal/optimized/neon_tensor_utils.cc takes part,"
    " which was not compared"
)
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
    _integer("UNIDIRECTIONAL_SEQUENCE_LSTM", Evidence.ASSUMED, _TRIED_LSTM),
    _integer("SVDF"),
    _FLOAT,
)
