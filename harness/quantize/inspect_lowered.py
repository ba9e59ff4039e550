"""One pass over a lowered file of either runtime: numbers that no quantization should have.

It reads the file itself, so it judges one that the user brought as well as our own.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.artifact import Finding
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph, Node, Tensor
from harness.errors import ModelError
from harness.quantize.litert.mending import WEIGHTED
from harness.quantize.litert.reached import module_path

_LEAST_SCALE = 1e-10
"""A quantizer gives smaller ones to what held only zeros."""
_MOST_RATIO, _LEAST_RATIO = 256.0, 2.0**-32
"""What XNNPACK takes as input scale x weight scale / output scale (TFLite delegate,
CheckTensorsInputProductOutputScale; src/operators/convolution-nhwc.c)."""
_NAMED = 8


def inspect_file(path: Path) -> tuple[Finding, ...]:
    """The findings of a `.tflite` or `.pte`; none for a file that our reader does not take."""
    try:
        graphs = read_model(path).graphs
    except ModelError:
        return ()
    return tuple(finding for graph in graphs for finding in inspect(graph))


def inspect(graph: Graph) -> tuple[Finding, ...]:
    """Degenerate scales, saturated biases and constants of NaN in one graph."""
    found: list[Finding] = []
    for check in _CHECKS:
        of_one = list(check(graph))
        found += of_one[:_NAMED]
        if len(of_one) > _NAMED:
            more = f"{len(of_one) - _NAMED} more tensors of the same kind"
            found.append(Finding(of_one[0].kind, "", more, of_one[0].remedy, of_one[0].severity))
    return tuple(found)


def _scales(graph: Graph) -> Iterator[Finding]:
    biases = {
        node.inputs[place]
        for node in graph.nodes
        if node.op in WEIGHTED and len(node.inputs) > (place := WEIGHTED[node.op][2])
    }
    for tensor in graph.tensors:
        if tensor.quantization is None or tensor.index in biases:
            continue
        scales = tensor.quantization.scales
        bad = ~np.isfinite(scales) | (scales < _LEAST_SCALE)
        if bad.any():
            yield _finding(
                "degenerate-scale",
                tensor,
                f"{int(bad.sum())} of {scales.size} scales are degenerate, e.g. "
                f"{float(scales[bad][0]):.3g}: it held only zeros (or no finite value) when its "
                "range was taken",
                "look whether the layer before it is dead; calibrate on data that reaches it",
            )


def _ratios(graph: Graph) -> Iterator[Finding]:
    for y, op, ratios in _requantizations(graph):
        bad = (ratios >= _MOST_RATIO) | (ratios < _LEAST_RATIO)
        if bad.any():
            yield _finding(
                "scale-ratio",
                y,
                f"input scale x weight scale / output scale is {float(ratios[bad][0]):.3g} for "
                f"{int(bad.sum())} of {ratios.size} channels of {op}; XNNPACK takes from "
                "2^-32 to 256",
                "look for weights or outputs that are all but zero beside a large bias",
            )


def narrow_outputs(graph: Graph) -> dict[str, float]:
    """Outputs with a scale so small that XNNPACK refuses their op, with the least that it takes,
    by name."""
    return {
        y.name: float(y.quantization.scales[0]) * float(ratios.max()) / (_MOST_RATIO / 2)
        for y, _, ratios in _requantizations(graph)
        if y.quantization is not None and y.dtype == "int8" and ratios.max() >= _MOST_RATIO
    }


def _requantizations(graph: Graph) -> Iterator[tuple[Tensor, str, npt.NDArray[np.float64]]]:
    """Output, op and scale ratios of each integer op with weights."""
    for node in graph.nodes:
        if node.op not in WEIGHTED:
            continue
        x, weights, y = _operands(graph, node)
        if x is None or weights is None or weights.quantization is None:
            continue
        if x.quantization is None or y.quantization is None:
            continue
        of_x, of_y = x.quantization.scales[0], y.quantization.scales[0]
        scales = weights.quantization.scales.astype(np.float64)
        yield y, node.op, np.float64(of_x) * scales / max(np.float64(of_y), 1e-300)


def _biases(graph: Graph) -> Iterator[Finding]:
    limit = np.iinfo(np.int32).max
    for node in graph.nodes:
        place = WEIGHTED.get(node.op, (0, 0, 1 << 30))[2]
        index = node.inputs[place] if place < len(node.inputs) else -1
        bias = graph.tensors[index] if index >= 0 else None
        if bias is None or bias.data is None or bias.dtype not in {"int32", "int64"}:
            continue
        values = bias.data.astype(np.float64)
        bad = np.abs(values) >= limit
        if bad.any():
            yield _finding(
                "saturated-bias",
                bias,
                f"{int(bad.sum())} of {values.size} biases of {node.op} are clipped to 32 bits: "
                "those channels give another number than the model",
                "scale the layer's weights up or its bias down, or use static_wi8_ai8, whose "
                "input scales are larger",
            )


def _not_a_number(graph: Graph) -> Iterator[Finding]:
    for tensor in graph.tensors:
        data = tensor.data
        if data is not None and data.dtype.kind == "f" and np.isnan(data).any():
            yield _finding(
                "nan-constant",
                tensor,
                f"{int(np.isnan(data).sum())} of {data.size} values are NaN",
                "load weights that are finite",
            )


def clipped_constants(source: Graph, graph: Graph) -> tuple[Finding, ...]:
    """Constants whose values lie outside the range that the quantized file has for them.

    Args:
        source: the float graph that `graph` was quantized from; tensors go by name.
    """
    floats = {tensor.name: tensor.data for tensor in source.tensors if tensor.data is not None}
    found = []
    for tensor in graph.tensors:
        real, quantization = floats.get(tensor.name), tensor.quantization
        if real is None or tensor.data is None or quantization is None:
            continue
        if real.dtype.kind != "f" or quantization.scales.size != 1 or tensor.data.dtype.kind != "i":
            continue
        steps = (np.iinfo(tensor.dtype) if tensor.dtype != "int4" else _Int4) if real.size else None
        if steps is None:
            continue
        scale, zero = float(quantization.scales[0]), int(quantization.zero_points[0])
        low, high = ((end - zero) * scale for end in (steps.min, steps.max))
        outside = (real < low - scale) | (real > high + scale)
        if outside.any():
            found.append(
                _finding(
                    "clipped-constant",
                    tensor,
                    f"{int(outside.sum())} of {real.size} values, e.g. "
                    f"{float(real[outside].ravel()[0]):.3g}, are clipped to "
                    f"[{low:.3g}, {high:.3g}]",
                    "use finite values near the others (a mask: just below the lowest score), or "
                    "calibrate on data that covers them",
                )
            )
    return tuple(found[:_NAMED])


class _Int4:
    min, max = -8, 7


def _operands(graph: Graph, node: Node) -> tuple[Tensor | None, Tensor | None, Tensor]:
    x, weights = (
        graph.tensors[node.inputs[place]]
        if place < len(node.inputs) and node.inputs[place] >= 0
        else None
        for place in WEIGHTED[node.op][:2]
    )
    return x, weights, graph.tensors[node.outputs[0]]


def _finding(kind: str, tensor: Tensor, message: str, remedy: str) -> Finding:
    module = module_path(tensor.name)
    where = tensor.name if module == tensor.name else f"{module} ({tensor.name})"
    return Finding(kind, where, message, remedy, "warn")


_CHECKS: tuple[Callable[[Graph], Iterator[Finding]], ...] = (
    _scales,
    _ratios,
    _biases,
    _not_a_number,
)
