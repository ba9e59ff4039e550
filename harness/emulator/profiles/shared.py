"""Entries that hold in every runtime: moves, and float arithmetic, which promises nothing."""

from harness.arithmetic.profile import Entry, Evidence

_MOVED = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")

MOVE_ENTRIES: tuple[Entry, ...] = (
    Entry(
        (
            "RESHAPE",
            "SQUEEZE",
            "EXPAND_DIMS",
            "TRANSPOSE",
            "PAD",
            "PADV2",
            "CONCATENATION",
            "SLICE",
            "SPLIT",
            "PACK",
            "UNPACK",
            "SHAPE",
        ),
        _MOVED,
        "move",
        Evidence.SOURCE,
        "values are copied, not computed",
    ),
)

FLOAT_ENTRIES: tuple[Entry, ...] = (
    Entry(
        (
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "FULLY_CONNECTED",
            "ADD",
            "SUB",
            "MUL",
            "AVERAGE_POOL_2D",
            "MAX_POOL_2D",
            "MEAN",
            "SOFTMAX",
            "LOGISTIC",
            "RELU",
            "RELU6",
            "RELU_N1_TO_1",
        ),
        ("float32",),
        "float",
        Evidence.ASSUMED,
        "float32 arithmetic; the order of additions is the runtime's own",
        when=lambda s: all(d in {"float32", "int32", ""} for d in s.dtypes),
        condition="all inputs float32 (axes int32)",
    ),
)
