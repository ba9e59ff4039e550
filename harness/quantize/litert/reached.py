"""What a recipe reached in a `.tflite`, read from the file itself."""

import re

from harness.artifact import Layer
from harness.emulator.graph import Graph, Node, Tensor
from harness.quantize.litert.mending import WEIGHTED
from harness.recipe import Recipe

_TABLES = {"EMBEDDING_LOOKUP": 1, "GATHER": 0}
"""Place of the weights of an op that only looks them up."""
_RECURRENT = {"UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "SVDF", "RNN"}
_PRODUCT = "BATCH_MATMUL"
_NO_RULE = "litert-quantizer has no rule that quantizes it so"
_MODULE = re.compile(r"^[A-Za-z0-9]+_(.+)$")


def layers_of(graph: Graph, recipe: Recipe) -> tuple[Layer, ...]:
    """Each op with weights, and each product of activations, with what the recipe did to it."""
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
        if weighted or recipe.mode == "static":
            layers.append(_layer(graph, node, recipe, x, weights, weighted=weighted))
    return tuple(layers)


def _layer(
    graph: Graph, node: Node, recipe: Recipe, x: Tensor | None, weights: Tensor, *, weighted: bool
) -> Layer:
    integers = [_is_quantized(weights)]
    if recipe.mode == "static":
        output = graph.tensors[node.outputs[0]]
        integers += [_is_quantized(one) for one in (x, output) if one is not None]
    made = graph.tensors[node.outputs[0]].name
    name = module_path(weights.name if weighted else made)
    if name == weights.name:
        name = module_path(made)
    if all(integers):
        return Layer(name, node.op, "quantized", weighted=weighted)
    if any(integers):
        kept = "its weights" if not integers[0] else "its input or output"
        return Layer(name, node.op, "partly", f"{kept} stayed float", weighted)
    return Layer(name, node.op, "not", _NO_RULE, weighted)


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


def module_path(name: str) -> str:
    """Of the module that litert-torch names in a tensor's name; else the tensor's own name.

    It writes ``file.Net/package.Class_attribute/package.Linear_attribute;2``.
    """
    first = name.split(";", maxsplit=1)[0]
    parts = []
    for segment in first.split("/")[1:]:
        match = _MODULE.match(segment.rpartition(".")[2])
        if match:
            parts.append(match[1])
    for ours in ("wrapped", "model"):  # what litert-torch and `harness.sources.flat` put around it
        parts = parts[1:] if parts[:1] == [ours] else parts
    return ".".join(parts) or name
