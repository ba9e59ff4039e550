"""What a recipe reached in a `.tflite`, read from the file itself."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy.typing as npt

from harness.artifact import Layer
from harness.emulator.graph import Graph, Node, Tensor
from harness.quantize.layers import op_of_litert
from harness.quantize.litert.mending import WEIGHTED
from harness.quantize.reached import BY_RULE
from harness.recipe import Recipe, Scheme

_TABLES = {"EMBEDDING_LOOKUP": 1, "GATHER": 0}
"""Place of the weights of an op that only looks them up."""
_RECURRENT = {"UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "SVDF", "RNN"}
_PRODUCT = "BATCH_MATMUL"
_NO_RULE = "litert-quantizer has no rule that quantizes it so"
_MODULE = re.compile(r"^[A-Za-z0-9]+_(.+)$")


def layers_of(
    graph: Graph, recipe: Recipe, paths: Mapping[str, str] = MappingProxyType({})
) -> tuple[Layer, ...]:
    """Each op with weights, and each product of activations, with what the recipe did to it.

    Args:
        paths: see `path_of`.
    """
    makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
    layers = []
    for node in graph.nodes:
        places = _places(node)
        if places is None:
            continue
        x, weights = (_tensor(graph, node, place) for place in places)
        source = makers.get(weights.index) if weights is not None else None
        if source is not None and source.op == "DEQUANTIZE":
            weights = graph.tensors[source.inputs[0]]
        if weights is None or (node.op in _TABLES and weights.data is None):
            continue
        weighted = weights.data is not None
        path = path_of(graph, node, paths)
        scheme = recipe.scheme_of(path, op_of_litert(node.op))
        if weighted or scheme.mode == "static":
            name = path or graph.tensors[node.outputs[0]].name
            output = graph.tensors[node.outputs[0]]
            activations = [one for one in (x, output) if one is not None]
            reached, why = _reached(scheme, activations, weights, weighted=weighted)
            layers.append(Layer(name, node.op, reached, why, weighted))
    return tuple(layers)


def _reached(
    scheme: Scheme, activations: list[Tensor], weights: Tensor, *, weighted: bool
) -> tuple[Literal["quantized", "partly", "not"], str]:
    """What the scheme did to a layer, and why not all."""
    integers = [_is_quantized(weights)]
    if scheme.mode == "static":
        integers += [_is_quantized(one) for one in activations]
    if scheme.mode == "float":
        return "not", BY_RULE
    if all(integers) and weighted and scheme.weight_bits == 4 and weights.dtype != "int4":
        return "partly", f"its weights are {weights.dtype}"
    if all(integers):
        return "quantized", ""
    if any(integers):
        return "partly", f"{'its input or output' if integers[0] else 'its weights'} stayed float"
    return "not", _NO_RULE


def _places(node: Node) -> tuple[int, int] | None:
    """Places of the activation and of the weights among an op's inputs; -1 for none."""
    if node.op in WEIGHTED:
        return WEIGHTED[node.op][:2]
    if node.op in _TABLES:
        return -1, _TABLES[node.op]
    if node.op == _PRODUCT:
        return 0, 1
    return (0, 1) if node.op in _RECURRENT else None


def _tensor(graph: Graph, node: Node, place: int) -> Tensor | None:
    index = node.inputs[place] if 0 <= place < len(node.inputs) else -1
    return graph.tensors[index] if index >= 0 else None


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.quantization is not None or tensor.blocks is not None


def path_of(graph: Graph, node: Node, paths: Mapping[str, str]) -> str:
    """The module that an op belongs to; "" where nothing tells it.

    Args:
        paths: as `harness.quantize.litert.identity.layer_paths` found them; empty for a file that
            came from elsewhere.
    """
    known = paths.get(graph.tensors[node.outputs[0]].name) if node.outputs else None
    return known or next(named_paths(graph, node), "")


def named_paths(graph: Graph, node: Node) -> Iterator[str]:
    """The modules in the names of an op's tensors, the likeliest first.

    A fused op has the names of all that it was made of, its own as the last of them. An output of
    the model has a name of its own: there the constants tell.
    """
    places = _places(node)
    weights = _tensor(graph, node, places[1]) if places else None
    held = [graph.tensors[index] for index in node.inputs if index >= 0]
    named = [weights, *(graph.tensors[index] for index in node.outputs)]
    named += [tensor for tensor in held if tensor.data is not None]
    for tensor in named:
        for part in reversed(tensor.name.split(";") if tensor else ()):
            if path := _path(part):
                yield path


def constant_weights(graph: Graph, node: Node) -> npt.NDArray[Any] | None:
    """The weights of an op, in the file's layout; None for an op without."""
    places = _places(node)
    weights = _tensor(graph, node, places[1]) if places else None
    return weights.data if weights is not None else None


def module_path(name: str) -> str:
    """Of the module that litert-torch names in a tensor's name; else the tensor's own name.

    It writes ``file.Net/package.Class_attribute/package.Linear_attribute;2``.
    """
    return next((path for part in reversed(name.split(";")) if (path := _path(part))), name)


def _path(text: str) -> str:
    parts = []
    for segment in text.split("/")[1:]:
        match = _MODULE.match(segment.rpartition(".")[2])
        if match:
            parts.append(match[1])
    for ours in ("wrapped", "model"):  # what litert-torch and `harness.sources.flat` put around it
        parts = parts[1:] if parts[:1] == [ours] else parts
    return ".".join(parts)
