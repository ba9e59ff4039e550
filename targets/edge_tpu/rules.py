"""Why the Edge TPU does not take an op: one function per condition.

Source: coral.ai, "TensorFlow models on the Edge TPU", supported operations, unless the function
says otherwise. Each gives the reason, with the remedy, or None.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.emulator.graph import Graph, Node, Tensor

_MOST_SOFTMAX = 16_000
_MOST_AVERAGED = 1 << 15
_MOST_RESIZED = 8 << 20


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


def few_averaged(op: Op) -> str | None:
    """Fewer than 32,768 values go into one mean.

    Compiler 16 left [1, 256, 128, 3] over x and y on the CPU and mapped [1, 64, 128, 3]
    (google-coral/edgetpu issue 461); where between them the limit lies is not known.
    """
    axes, shape = _axes(op, 1), op.inputs[0].shape if op.inputs[0] else ()
    count = math.prod(shape[axis] for axis in axes) if axes else 1
    if count < _MOST_AVERAGED:
        return None
    return f"each mean is over {count:,} values: average parts of them first"


def more_than_a_pixel(op: Op) -> str | None:
    """More than one pixel to interpolate between.

    Coral's compiled DeepLabV3 ends before the bilinear resize of its pooled branch from 1 x 1 to
    33 x 33 and keeps that, and what is behind it, on the CPU.
    """
    shape = op.inputs[0].shape if op.inputs[0] else ()
    if len(shape) != 4 or shape[1:3] == op.outputs[0].shape[1:3] or 1 not in shape[1:3]:
        return None
    return f"it enlarges {list(shape)}, one pixel: add the pixel by broadcasting instead"


def fits_on_chip(op: Op) -> str | None:
    """A result smaller than the on-chip memory.

    Resizing 256 x 256 x 32 to twice its size is left on the CPU, 64 x 64 x 32 is mapped
    (google-coral/edgetpu issue 31); where between them the limit lies is not known.
    """
    size = math.prod(op.outputs[0].shape)
    if size < _MOST_RESIZED:
        return None
    return f"its result has {size:,} elements: resize a smaller tensor"
