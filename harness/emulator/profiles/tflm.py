"""TensorFlow Lite Micro with its reference kernels: what runs on microcontrollers without a
vendor's kernels. No uint8 arithmetic; int8, and int16 activations with int8 weights."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence, Signature
from harness.emulator.profiles.shared import FLOAT_ENTRIES, has_narrow_sums

_K = "TFLM micro/kernels"
_R = "TFLM kernels/internal/reference"
_INT8 = ("int8",)
_BOTH = ("int8", "int16")
_NUMBERS = ("int32", "float32")
_REAL = (*_BOTH, "float32")
_PLAIN = (*_NUMBERS, "int64", "bool")


@dataclass(frozen=True)
class _When:
    """A condition and its words."""

    holds: Callable[[Signature], bool] | None
    words: str


_ALWAYS = _When(None, "")


def _entry(
    ops: str, dtypes: tuple[str, ...], semantics: str, files: str, when: _When = _ALWAYS
) -> Entry:
    names = tuple(ops.split())
    return Entry(names, dtypes, semantics, Evidence.MEASURED, files, when.holds, when.words)


def _to(*outputs: str) -> _When:
    return _When(lambda s: s.output in outputs, f"to {', '.join(outputs)}")


_WEIGHTS = _When(lambda s: s.dtypes[1] == "int8", "int8 weights")
_WIDE_SUMS = _When(
    lambda s: s.dtypes[1] == "int8" and not has_narrow_sums(s), "int8 weights, int64 bias or none"
)
_NARROW_SUMS = _When(
    lambda s: s.dtypes[1] == "int8" and has_narrow_sums(s), "int8 weights, int32 bias"
)
_NO_PADDING = _When(lambda s: prod(s.shapes[0]) == prod(s.output_shape), "without padding")

_ACCUMULATING: tuple[Entry, ...] = (
    _entry(
        "CONV_2D DEPTHWISE_CONV_2D",
        _INT8,
        "S1:double",
        f"{_R}/integer_ops/conv.h ConvPerChannel, depthwise_conv.h DepthwiseConvPerChannel",
        _WEIGHTS,
    ),
    _entry(
        "CONV_2D DEPTHWISE_CONV_2D",
        ("int16",),
        "S8:double",
        f"{_R}/integer_ops/conv.h, depthwise_conv.h; kernels/internal/common.cc",
        _WIDE_SUMS,
    ),
    _entry(
        "FULLY_CONNECTED",
        _INT8,
        "S1:double",
        f"{_K}/fully_connected_common.cc; {_R}/integer_ops/fully_connected.h",
        _WEIGHTS,
    ),
    _entry(
        "FULLY_CONNECTED",
        ("int16",),
        "S8:double",
        f"{_K}/fully_connected_common.cc; {_R}/integer_ops/fully_connected.h",
        _WIDE_SUMS,
    ),
)

_NARROW: tuple[Entry, ...] = (
    _entry("CONV_2D", ("int16",), "S1:double", f"{_R}/integer_ops/conv.h", _NARROW_SUMS),
    _entry(
        "FULLY_CONNECTED",
        ("int16",),
        "S1:double",
        f"{_R}/integer_ops/fully_connected.h",
        _NARROW_SUMS,
    ),
)

_TRANSPOSED: tuple[Entry, ...] = (
    _entry("TRANSPOSE_CONV", _INT8, "S1:double", f"{_R}/integer_ops/transpose_conv.h", _WEIGHTS),
    _entry(
        "TRANSPOSE_CONV",
        ("int16",),
        "S8:double",
        f"{_R}/integer_ops/transpose_conv.h",
        _WIDE_SUMS,
    ),
)

_ELEMENTWISE: tuple[Entry, ...] = (
    _entry("ADD SUB", _BOTH, "shifted-S1", f"{_R}/add.h, sub.h; {_K}/add_common.cc, sub_common.cc"),
    _entry("MUL", _BOTH, "S1:double", f"{_R}/integer_ops/mul.h MulElementwise; {_K}/mul_common.cc"),
    _entry("MINIMUM MAXIMUM", _BOTH, "raw", f"{_K}/maximum_minimum.cc"),
    _entry("SQUARED_DIFFERENCE", _INT8, "shifted-S1", f"{_K}/squared_difference.cc"),
    _entry("LOGISTIC TANH", _INT8, "gemmlowp", f"{_R}/integer_ops/logistic.h, tanh.h"),
    _entry("LOGISTIC TANH", ("int16",), "interpolated", f"{_R}/integer_ops/logistic.h, tanh.h"),
    _entry("RELU", _BOTH, "S1:single", f"{_K}/activations_common.cc CalculateReluOpData"),
    _entry("RELU6", _BOTH, "raw", f"{_K}/activations_common.cc Relu6Prepare"),
    _entry("LEAKY_RELU", _BOTH, "S1:single", f"{_R}/leaky_relu.h QuantizeLeakyRelu"),
    _entry("PRELU", _BOTH, "S1:double", f"{_K}/prelu_common.cc CalculatePreluParams"),
    _entry("HARD_SWISH", _INT8, "fixed-16", f"{_R}/hard_swish.h HardSwish"),
    _entry("ELU", _INT8, "table-exp", f"{_K}/elu.cc PopulateLookupTable"),
    _entry("ABS", _BOTH, "S1:single", f"{_K}/elementwise.cc AbsEvalQuantized"),
    _entry("RSQRT", _INT8, "newton", f"{_K}/elementwise.cc RsqrtEvalQuantized"),
    _entry("L2_NORMALIZATION", _INT8, "newton", f"{_R}/l2normalization.h"),
    _entry("LOG_SOFTMAX", _INT8, "gemmlowp", f"{_R}/integer_ops/log_softmax.h LogSoftmax"),
    _entry("SOFTMAX", ("int16",), "interpolated-single", f"{_K}/softmax_common.cc"),
    _entry("SOFTMAX", _INT8, "gemmlowp", f"{_R}/softmax.h Softmax", _to("int8")),
)

_REDUCTIONS: tuple[Entry, ...] = (
    _entry("AVERAGE_POOL_2D MAX_POOL_2D", _BOTH, "integer", f"{_R}/integer_ops/pooling.h"),
    _entry("MEAN", _BOTH, "folded-S1", f"{_R}/reduce.h QuantizedMeanOrSum"),
    _entry("SUM", _BOTH, "S1", f"{_R}/reduce.h QuantizedMeanOrSum"),
    _entry("REDUCE_MAX REDUCE_MIN", ("int8", "float32"), "pick", f"{_K}/reduce_common.cc"),
    _entry("REDUCE_ALL", ("bool",), "pick", f"{_K}/reduce_common.cc"),
    _entry("ARG_MAX ARG_MIN", ("int8", "float32"), "first", f"{_K}/arg_min_max.cc", _to("int32")),
)

_CONVERSIONS: tuple[Entry, ...] = (
    _entry("QUANTIZE", ("float32",), "affine-away", f"{_R}/quantize.h", _to(*_BOTH)),
    _entry(
        "QUANTIZE",
        ("int8", "uint8", "int16", "int32"),
        "requantize-S1",
        f"{_R}/requantize.h Requantize",
    ),
    _entry("DEQUANTIZE", ("int8", "uint8", "int16"), "affine", f"{_R}/dequantize.h Dequantize"),
    _entry("CAST", (*_BOTH, *_NUMBERS, "bool"), "cast", f"{_K}/cast.cc"),
)

_RESIZES: tuple[Entry, ...] = (
    _entry("RESIZE_BILINEAR", _INT8, "q10", f"{_R}/resize_bilinear.h ResizeBilinearInteger"),
    _entry(
        "RESIZE_NEAREST_NEIGHBOR",
        (*_BOTH, "float32"),
        "nearest",
        f"{_R}/resize_nearest_neighbor.h ResizeNearestNeighbor",
    ),
)

_LOGIC: tuple[Entry, ...] = (
    _entry(
        "EQUAL NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL",
        _INT8,
        "rescaled-S1",
        f"{_K}/comparisons.cc",
    ),
    _entry(
        "EQUAL NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL",
        (*_NUMBERS, "int64"),
        "plain",
        f"{_K}/comparisons.cc",
    ),
    _entry("EQUAL NOT_EQUAL", ("bool",), "plain", f"{_K}/comparisons.cc"),
    _entry("LOGICAL_AND LOGICAL_OR LOGICAL_NOT", ("bool",), "plain", f"{_K}/logical_common.cc"),
    _entry("FLOOR_DIV FLOOR_MOD", ("float32",), "plain", f"{_K}/floor_div.cc, floor_mod.cc"),
    _entry("SELECT_V2", ("bool",), "move", f"{_K}/select.cc", _to(*_REAL)),
    _entry("FILL", ("int32",), "move", f"{_K}/fill.cc", _to("int8", *_NUMBERS)),
    _entry("ZEROS_LIKE", (*_NUMBERS, "int64"), "move", f"{_K}/zeros_like.cc"),
    _entry("EMBEDDING_LOOKUP", ("int32",), "move", f"{_K}/embedding_lookup.cc"),
)


def _move(ops: str, dtypes: tuple[str, ...], files: str) -> Entry:
    return _entry(ops, dtypes, "move", f"values are copied, not computed: {_K}/{files}")


_MOVES: tuple[Entry, ...] = (
    _move("RESHAPE SQUEEZE", ("uint8", *_BOTH, *_PLAIN), "reshape_common.cc, squeeze.cc"),
    _move("REVERSE_V2 BROADCAST_TO", ("uint8", *_BOTH, *_PLAIN), "reverse.cc, broadcast_to.cc"),
    _move("EXPAND_DIMS", _REAL, "expand_dims.cc"),
    _move("TRANSPOSE", _REAL, "transpose_common.cc"),
    _move("SLICE STRIDED_SLICE", (*_BOTH, *_NUMBERS, "bool"), "slice.cc, strided_slice_common.cc"),
    _move("SPLIT", (*_BOTH, *_NUMBERS), "split.cc"),
    _move("SPLIT_V", (*_BOTH, *_NUMBERS), "split_v.cc"),
    _move("PACK", (*_BOTH, *_NUMBERS, "int64"), "pack.cc"),
    _move("UNPACK", (*_BOTH, *_NUMBERS), "unpack.cc"),
    _move("CONCATENATION", (*_BOTH, *_PLAIN), "concatenation.cc"),
    _move("GATHER GATHER_ND", ("int8", "float32"), "gather.cc, gather_nd.cc"),
    _move("PAD", (*_BOTH, *_NUMBERS), "pad_common.cc"),
    _move("PADV2", (*_BOTH, *_NUMBERS), "pad_common.cc"),
    _move("MIRROR_PAD", ("int8", "float32"), "mirror_pad.cc"),
    _move("SPACE_TO_DEPTH DEPTH_TO_SPACE", ("int8", "float32"), "space_to_depth.cc"),
    _move("BATCH_TO_SPACE_ND", ("int8", "float32"), "batch_to_space_nd.cc"),
    _entry(
        "SPACE_TO_BATCH_ND",
        ("int8", "float32"),
        "move",
        f"{_K}/space_to_batch_nd.cc: its padding value is never set",
        _NO_PADDING,
    ),
    _move("SHAPE", ("int8", "uint8", "int16", *_PLAIN), "shape.cc"),
)

TFLM = ArithmeticProfile(
    "tflm",
    "TensorFlow Lite Micro, reference kernels, as of 2026-10-23 (tflite-micro 0.dev20261023182759)",
    (
        *_ACCUMULATING,
        *_NARROW,
        *_TRANSPOSED,
        *_ELEMENTWISE,
        *_REDUCTIONS,
        *_CONVERSIONS,
        *_RESIZES,
        *_LOGIC,
        *_MOVES,
        *FLOAT_ENTRIES,
    ),
)
