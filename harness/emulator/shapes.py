"""Graphs run at other shapes than the file's: another batch, a resized image.

A runtime resizes inputs and works out all other shapes anew. Here a resized graph has its inputs'
new shapes, and every other shape follows when the nodes run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from harness.emulator.formats.tflite import MAX_ELEMENTS
from harness.emulator.graph import Array, Graph, Tensor
from harness.errors import ModelError

Shape = tuple[int, ...]


def resized(graph: Graph, shapes: Mapping[int, Shape]) -> Graph:
    """The graph with other shapes of its inputs.

    Args:
        graph: the graph.
        shapes: by tensor index, of inputs; the others stay.

    Raises:
        ModelError: a shape has too many elements.
    """
    changed = {i: s for i, s in shapes.items() if graph.tensors[i].shape != s}
    if not changed:
        return graph
    for index, shape in changed.items():
        if prod(shape) > MAX_ELEMENTS:
            name = graph.tensors[index].name
            raise ModelError(f"input {name!r} of shape {list(shape)}: allowed: {MAX_ELEMENTS}")
    tensors = tuple(
        replace(t, shape=changed[t.index]) if t.index in changed else t for t in graph.tensors
    )
    return replace(graph, tensors=tensors, resized=True)


def fit(graph: Graph, inputs: Sequence[Array]) -> Graph:
    """The graph resized where the inputs need it and its shape signature allows it.

    The first axis counts batches of the graph's own size; `with_batch` changes that. Inputs that do
    not fit are left for the caller to refuse.
    """
    if len(inputs) != len(graph.inputs):
        return graph
    shapes = {
        index: (graph.tensors[index].shape[0], *x.shape[1:])
        for index, x in zip(graph.inputs, inputs, strict=True)
        if _may_have(graph.tensors[index], x.shape)
    }
    return resized(graph, shapes)


def _may_have(tensor: Tensor, shape: Shape) -> bool:
    """Whether only axes after the first differ, and those may."""
    return (
        len(shape) == len(tensor.shape) > 0
        and min(shape) > 0
        and all(
            size == wanted or axis in tensor.free_axes
            for axis, (size, wanted) in enumerate(zip(tensor.shape, shape, strict=True))
            if axis
        )
    )


def with_batch(graph: Graph, batch: int) -> Graph:
    """The graph with another size of its inputs' first axis.

    Raises:
        ModelError: an input's batch is fixed.
    """
    shapes = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if 0 not in tensor.free_axes and tensor.shape[:1] != (batch,):
            raise ModelError(
                f"input {tensor.name!r} of shape {list(tensor.shape)} has a fixed batch, "
                f"asked for {batch}"
            )
        shapes[index] = (batch, *tensor.shape[1:])
    return resized(graph, shapes)
