"""Which ops the Edge TPU takes, and under which conditions: Google's published table, as data.

Source: coral.ai, "TensorFlow models on the Edge TPU", supported operations and general requirements
(runtime 14, compiler 16), and where the rules say so, public logs of the compiler.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from targets.edge_tpu.rules import (
    Op,
    Rule,
    default_weights,
    depth_of_four,
    few_averaged,
    fits_on_chip,
    flat_alpha,
    leading_ones,
    more_than_a_pixel,
    no_activation,
    no_batch_padding,
    not_over_batch,
    one_dimensional_output,
    pack_axis,
    same_dilation,
    softmax_size,
    three_dimensions,
    unit_strides,
    zero_constant,
)

RUNTIME = 14
"""The newest runtime there is; older ones lack the ops that `Supported.runtime` says."""

DTYPES = ("int8", "uint8")


@dataclass(frozen=True)
class Supported:
    """What the table says of one op.

    Attributes:
        runtime: the first Edge TPU runtime that has it.
        data: positions of the inputs that may be computed; None for all. Every other input must be
            a constant.
        weights: position of the weights; None when it has none.
        rules: its own conditions.
        caution: what the table leaves open.
    """

    runtime: int = 10
    data: tuple[int, ...] | None = (0,)
    weights: int | None = None
    rules: tuple[Rule, ...] = field(default=())
    caution: str = ""


_LARGE = "the compiler refuses some large ones; the limit is not published"
_PRECISE = "the compiler refuses sizes at which it would lose precision; they are not published"
_BINARY = (0, 1)

TABLE: dict[str, Supported] = {
    "ADD": Supported(data=_BINARY),
    "AVERAGE_POOL_2D": Supported(rules=(no_activation,)),
    "CONCATENATION": Supported(data=None, rules=(no_activation, zero_constant)),
    "CONV_2D": Supported(weights=1, rules=(same_dilation,)),
    "DEPTHWISE_CONV_2D": Supported(weights=1, rules=(same_dilation,)),
    "EXPAND_DIMS": Supported(13),
    "FULLY_CONNECTED": Supported(weights=1, rules=(default_weights, one_dimensional_output)),
    "L2_NORMALIZATION": Supported(),
    "LOGISTIC": Supported(),
    "LSTM": Supported(14),
    "MAXIMUM": Supported(data=_BINARY),
    "MAX_POOL_2D": Supported(rules=(no_activation,)),
    "MEAN": Supported(rules=(not_over_batch(1), depth_of_four, few_averaged)),
    "MINIMUM": Supported(data=_BINARY),
    "MUL": Supported(data=_BINARY),
    "PACK": Supported(13, data=None, rules=(pack_axis,)),
    "PAD": Supported(rules=(no_batch_padding,)),
    "PRELU": Supported(13, rules=(flat_alpha,)),
    "QUANTIZE": Supported(13),
    "REDUCE_MAX": Supported(14, rules=(not_over_batch(1),)),
    "REDUCE_MIN": Supported(14, rules=(not_over_batch(1),)),
    "RELU": Supported(),
    "RELU6": Supported(),
    "RELU_N1_TO_1": Supported(),
    "RESHAPE": Supported(caution=_LARGE),
    "RESIZE_BILINEAR": Supported(
        rules=(three_dimensions, more_than_a_pixel, fits_on_chip), caution=_PRECISE
    ),
    "RESIZE_NEAREST_NEIGHBOR": Supported(rules=(three_dimensions, fits_on_chip), caution=_PRECISE),
    "RSQRT": Supported(14),
    "SLICE": Supported(),
    "SOFTMAX": Supported(rules=(softmax_size,)),
    "SPACE_TO_DEPTH": Supported(),
    "SPLIT": Supported(data=(1,), rules=(not_over_batch(0),)),
    "SQUARED_DIFFERENCE": Supported(14, data=_BINARY),
    "SQUEEZE": Supported(rules=(leading_ones,)),
    "STRIDED_SLICE": Supported(rules=(unit_strides,)),
    "SUB": Supported(data=_BINARY),
    "SUM": Supported(13, rules=(not_over_batch(1),)),
    "TANH": Supported(),
    "TRANSPOSE": Supported(14),
    "TRANSPOSE_CONV": Supported(13, data=(2,), weights=1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Supported(14),
}


def caution(op: Op) -> str:
    """What is not sure about an op that is mapped; empty when nothing is known against it."""
    weights = op.at(1) if op.node.op == "FULLY_CONNECTED" else None
    scales = len(weights.quantization.scales) if weights and weights.quantization else 1
    if scales > 1:
        return (
            f"its {scales} weight scales are newer than the compiler: converters write such dense "
            "layers since 2024, and no public log shows one"
        )
    return TABLE[op.node.op].caution


def why_not(op: Op, runtime: int = RUNTIME) -> str | None:
    """Why the Edge TPU does not take an op, with the remedy; None when it does.

    Versions of operators are a matter of their own, see `targets.edge_tpu.versions`.
    """
    entry = TABLE.get(op.node.op)
    if entry is None:
        return "not supported: replace the op, or move it behind the part that is accelerated"
    if entry.runtime > runtime:
        return f"needs Edge TPU runtime {entry.runtime}, the device has {runtime}"
    for check in (_constants, _dtypes, _dimensions):
        if reason := check(op, entry):
            return reason
    return next((reason for rule in entry.rules if (reason := rule(op))), None)


def _dtypes(op: Op, entry: Supported) -> str | None:
    """Integers of 8 bits in, out, and as weights; the state of an LSTM is its own."""
    computed = [t for t in op.inputs if t is not None and t.data is None and not t.variable]
    weights = op.at(entry.weights) if entry.weights is not None else None
    for tensor in (*computed, *op.outputs, *([weights] if weights is not None else [])):
        if tensor.dtype not in DTYPES:
            return (
                f"tensor {tensor.name!r} is {tensor.dtype}: only int8 and uint8 are taken, "
                "quantize all of the model"
            )
    return None


def _constants(op: Op, entry: Supported) -> str | None:
    """Everything but the data is known when the model is compiled."""
    positions: Sequence[int] = () if entry.data is None else entry.data
    for position, tensor in enumerate(op.inputs):
        movable = entry.data is None or position in positions
        if tensor is None or tensor.data is not None or tensor.variable or movable:
            continue
        return f"input {position} ({tensor.name!r}) is computed: it must be a constant"
    return None


def _dimensions(op: Op, _entry: Supported) -> str | None:
    """Only the three innermost dimensions of what is computed may exceed 1, and none may change."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor is None or tensor.data is not None:
            continue
        if any(size == -1 for size in tensor.signature[1:]):
            return f"tensor {tensor.name!r} has a size that may change: fix it before converting"
        if any(size > 1 for size in tensor.shape[:-3]):
            return (
                f"tensor {tensor.name!r} has shape {list(tensor.shape)}: only the three innermost "
                "dimensions may exceed 1"
            )
    return None
