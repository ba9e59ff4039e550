"""Which ops the Edge TPU takes, and under which conditions: Google's published table, as data.

Source: coral.ai, "TensorFlow models on the Edge TPU", supported operations and general requirements
(runtime 14, compiler 16). A rule gives the reason why an op is not taken, with the remedy, or None.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.emulator.graph import Graph, Node, Tensor

RUNTIME = 14
"""The newest runtime there is; older ones lack the ops that `Supported.runtime` says."""

DTYPES = ("int8", "uint8")
_MOST_SOFTMAX = 16_000


@dataclass(frozen=True, eq=False)
class Op:
    """A node with its tensors.

    Attributes:
        node: the node.
        inputs: its input tensors; None for an absent one.
        outputs: its output tensors.
    """

    node: Node
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    def at(self, index: int) -> Tensor | None:
        """An input; None when it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The values of a constant input of integers; None when it is none."""
        tensor = self.at(index)
        if tensor is None or tensor.data is None:
            return None
        return tuple(int(value) for value in tensor.data.reshape(-1))

    def option(self, name: str, default: object) -> object:
        """An option of the op."""
        return self.node.options.get(name, default)


def op_of(graph: Graph, node: Node) -> Op:
    """A node of a graph with its tensors."""
    inputs = tuple(None if i < 0 else graph.tensors[i] for i in node.inputs)
    return Op(node, inputs, tuple(graph.tensors[i] for i in node.outputs))


Rule = Callable[[Op], str | None]


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


def no_activation(op: Op) -> str | None:
    """No fused activation function."""
    fused = op.option("fused_activation_function", "NONE")
    return None if fused == "NONE" else f"its fused {fused} is not taken: make it an op of its own"


def same_dilation(op: Op) -> str | None:
    """The same dilation in x and y."""
    x, y = op.option("dilation_w_factor", 1), op.option("dilation_h_factor", 1)
    return None if x == y else f"dilation {y} by {x}: use the same in x and y"


def default_weights(op: Op) -> str | None:
    """The default weight format."""
    form = op.option("weights_format", "DEFAULT")
    return None if form == "DEFAULT" else f"weight format {form}: only the default one is taken"


def per_tensor_weights(op: Op) -> str | None:
    """One weight scale: the kernels of the compiler's time know no other for this op."""
    weights = op.at(1)
    count = len(weights.quantization.scales) if weights and weights.quantization else 1
    if count <= 1:
        return None
    return f"{count} weight scales: quantize the weights of this op per tensor"


def one_dimensional_output(op: Op) -> str | None:
    """An output with one dimension larger than 1."""
    shape = op.outputs[0].shape
    large = [size for size in shape if size > 1]
    return None if len(large) <= 1 else f"output {list(shape)}: only one dimension may exceed 1"


def softmax_size(op: Op) -> str | None:
    """A one-dimensional input of at most 16,000 elements."""
    shape = op.inputs[0].shape if op.inputs[0] else ()
    if any(size > 1 for size in shape[:-1]):
        return f"input {list(shape)}: softmax takes one dimension; leave it out of the model"
    if shape and shape[-1] > _MOST_SOFTMAX:
        return f"{shape[-1]:,} elements: softmax takes at most {_MOST_SOFTMAX:,}"
    return None


def zero_constant(op: Op) -> str | None:
    """Beside a constant there is one other input, and the constant is zero."""
    constants = [t for t in op.inputs if t is not None and t.data is not None]
    if not constants:
        return None
    if len(op.inputs) != 2:
        return f"a constant among {len(op.inputs)} inputs: at most 2 inputs beside a constant"
    points = constants[0].quantization
    zero = int(points.zero_points[0]) if points is not None else 0
    if np.any(constants[0].data != zero):
        return "its constant is not all zeros: only padding with zeros is taken"
    return None


def not_over_batch(position: int) -> Rule:
    """The axes, a constant input, do not include the batch."""

    def rule(op: Op) -> str | None:
        axes = _axes(op, position)
        return "it works on the batch dimension" if axes is not None and 0 in axes else None

    return rule


def depth_of_four(op: Op) -> str | None:
    """A reduction over depth needs a depth that is a multiple of 4."""
    axes, shape = _axes(op, 1), op.inputs[0].shape if op.inputs[0] else ()
    if axes is None or len(shape) - 1 not in axes or not shape or shape[-1] % 4 == 0:
        return None
    return f"depth {shape[-1]} is not a multiple of 4: pad the channels to {-(-shape[-1] // 4) * 4}"


def _axes(op: Op, position: int) -> set[int] | None:
    axes = op.integers(position)
    data = op.inputs[1 - position] if position in (0, 1) and len(op.inputs) > 1 else op.inputs[0]
    if axes is None or data is None or not data.shape:
        return None
    return {axis % len(data.shape) for axis in axes}


def pack_axis(op: Op) -> str | None:
    """Not packed along the batch."""
    axis, rank = op.option("axis", 0), len(op.outputs[0].shape)
    if isinstance(axis, int) and rank and axis % rank == 0:
        return "it packs the batch dimension"
    return None


def no_batch_padding(op: Op) -> str | None:
    """No padding of the batch."""
    amounts = op.integers(1)
    return "it pads the batch dimension" if amounts is not None and any(amounts[:2]) else None


def flat_alpha(op: Op) -> str | None:
    """Alpha has one dimension, the innermost."""
    alpha = op.at(1)
    if alpha is None or all(size == 1 for size in alpha.shape[:-1]):
        return None
    return f"alpha {list(alpha.shape)}: share it over height and width (Keras: shared_axes=[1, 2])"


def leading_ones(op: Op) -> str | None:
    """Only ones before the first larger dimension are removed: nothing moves in memory."""
    shape = op.inputs[0].shape if op.inputs[0] else ()
    squeezed = op.option("squeeze_dims", ())
    axes = [int(a) % len(shape) for a in squeezed] if isinstance(squeezed, tuple) and shape else []
    axes = axes or [axis for axis, size in enumerate(shape) if size == 1]
    first = next((axis for axis, size in enumerate(shape) if size > 1), len(shape))
    if all(axis < first for axis in axes):
        return None
    return f"it squeezes {list(shape)} behind a dimension larger than 1: use a reshape"


def unit_strides(op: Op) -> str | None:
    """All strides 1, no ellipsis and no new axis."""
    strides = op.integers(3) or ()
    if any(stride != 1 for stride in strides):
        return f"strides {list(strides)}: all must be 1"
    for mask in ("ellipsis_mask", "new_axis_mask"):
        if op.option(mask, 0):
            return f"{mask} is {op.option(mask, 0)}: it must be 0"
    return None


def three_dimensions(op: Op) -> str | None:
    """Input and output have at most three dimensions larger than 1."""
    shapes = [tensor.shape for tensor in (*op.inputs[:1], *op.outputs) if tensor is not None]
    wrong = next((shape for shape in shapes if any(size > 1 for size in shape[:-3])), None)
    return None if wrong is None else f"shape {list(wrong)}: one image at a time"


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
    "FULLY_CONNECTED": Supported(
        weights=1, rules=(default_weights, one_dimensional_output, per_tensor_weights)
    ),
    "L2_NORMALIZATION": Supported(),
    "LOGISTIC": Supported(),
    "LSTM": Supported(14),
    "MAXIMUM": Supported(data=_BINARY),
    "MAX_POOL_2D": Supported(rules=(no_activation,)),
    "MEAN": Supported(rules=(not_over_batch(1), depth_of_four)),
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
    "RESIZE_BILINEAR": Supported(rules=(three_dimensions,), caution=_PRECISE),
    "RESIZE_NEAREST_NEIGHBOR": Supported(rules=(three_dimensions,), caution=_PRECISE),
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
