"""What a node is bound to: its inputs' values and shapes, and its profile's entry."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile, Entry, Signature
from harness.emulator.definitions import BY_VALUE, OUTPUT_SHAPES, Call, CannotRun
from harness.emulator.formats.tflite import MAX_ELEMENTS
from harness.emulator.graph import Array, Graph, Node, Tensor
from harness.emulator.refusals import refused
from harness.emulator.steps import Ragged


def where(graph: Graph, node: Node) -> str:
    """A node's place, for messages."""
    name = graph.tensors[node.outputs[0]].name if node.outputs else ""
    return f"graph {graph.name!r}: node {node.index} ({node.op}, {name!r})"


def node_values(
    graph: Graph, node: Node, values: Mapping[int, Array]
) -> tuple[Array | None, ...] | None:
    """The node's input values, constants included; None when one is not there."""
    arrays: list[Array | None] = []
    for index in node.inputs:
        value = None if index < 0 else values.get(index, graph.tensors[index].data)
        if value is None and index >= 0:
            return None
        arrays.append(value)
    return tuple(arrays)


def make_call(
    graph: Graph, node: Node, arrays: Sequence[Array | None], profile: ArithmeticProfile
) -> tuple[Call, Entry | None]:
    """What a definition is bound to, and the profile's entry for it.

    Args:
        graph: the node's.
        node: which.
        arrays: its inputs' values, of one step.
        profile: whose arithmetic.

    Raises:
        CannotRun: the node makes more than the file says, or more than may be.
        NoDefinition: what it makes is not known.
    """
    inputs = tuple(
        None if array is None else replace(graph.tensors[index], shape=array.shape)
        for index, array in zip(node.inputs, arrays, strict=True)
    )
    outputs = tuple(graph.tensors[i] for i in node.outputs)
    given = tuple(
        tensor if tensor is None or i not in BY_VALUE.get(node.op, ()) else replace(tensor, data=x)
        for i, (tensor, x) in enumerate(zip(inputs, arrays, strict=True))
    )
    if why := refused(node.op, outputs, profile):
        raise CannotRun(why)
    entry = profile.lookup(signature(node, inputs, outputs))
    if entry is not None and node.op in OUTPUT_SHAPES and outputs:
        made = OUTPUT_SHAPES[node.op](Call(node, given, outputs, entry.semantics))
        if not graph.resized and made != outputs[0].shape:
            raise CannotRun(f"makes shape {list(made)}, the file says {list(outputs[0].shape)}")
        if made != outputs[0].shape:
            if math.prod(made) > MAX_ELEMENTS:
                raise CannotRun(f"makes shape {list(made)}, allowed: {MAX_ELEMENTS} elements")
            outputs = (replace(outputs[0], shape=made), *outputs[1:])
            entry = profile.lookup(signature(node, inputs, outputs))
    inside = tuple(graph.tensors[i] for i in node.intermediates)
    return Call(node, given, outputs, entry.semantics if entry else "", inside), entry


def first_step(
    node: Node, arrays: Sequence[Array | None], computed: Sequence[bool]
) -> list[Array | None]:
    """The values of one step.

    Raises:
        Ragged: steps differ in a value that the binding depends on.
    """
    for position in BY_VALUE.get(node.op, ()):
        if position < len(arrays) and computed[position]:
            value = arrays[position]
            if value is not None and np.any(value != value[:1]):
                raise Ragged
    return [
        a[0, ...] if a is not None and has_steps else a
        for a, has_steps in zip(arrays, computed, strict=True)
    ]


def bound_key(
    node: Node, arrays: Sequence[Array | None], computed: Sequence[bool]
) -> list[tuple[int, ...]]:
    """What a binding depends on: the shapes of the inputs and, of those in `BY_VALUE`, the values
    of the first step."""
    key = [
        () if a is None else a.shape[1:] if has_steps else a.shape
        for a, has_steps in zip(arrays, computed, strict=True)
    ]
    for position in BY_VALUE.get(node.op, ()):
        if position < len(arrays) and computed[position]:
            value = arrays[position]
            key.append(() if value is None else tuple(value[0].reshape(-1).tolist()))
    return key


_DATA_FIRST = {"TRANSPOSE_CONV": (2, 1, 3, 0), "SPLIT": (1, 0)}
"""Ops whose signature lists what is computed, weights and bias first, as the others do; then the
rest."""


def signature(node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Signature:
    """What a profile chooses a node's semantics by."""
    if node.op in _DATA_FIRST:
        inputs = [inputs[i] if i < len(inputs) else None for i in _DATA_FIRST[node.op]]
    tensors = (*inputs, *outputs[:1])
    quantizations = [None if t is None else t.quantization for t in tensors]
    weights = quantizations[1] if len(inputs) > 1 else None
    blocks = inputs[1].blocks if len(inputs) > 1 and inputs[1] is not None else None
    return Signature(
        op=node.op,
        dtypes=tuple("" if t is None else t.dtype for t in inputs),
        output=outputs[0].dtype if outputs else "",
        per_channel=weights is not None and len(weights.scales) > 1,
        shapes=tuple(() if t is None else t.shape for t in inputs),
        output_shape=outputs[0].shape if outputs else (),
        options=node.options,
        constant=tuple(t is not None and t.data is not None for t in inputs),
        scales=tuple(() if q is None else tuple(q.scales.tolist()) for q in quantizations),
        zero_points=tuple(
            () if q is None else tuple(q.zero_points.tolist()) for q in quantizations
        ),
        block_size=0 if blocks is None else blocks.size,
    )
