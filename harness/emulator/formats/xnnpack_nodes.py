"""Puts a delegate payload's values and nodes into a graph, by the names TFLite has for them.

Images inside a payload are NHWC; the program's own tensors need not be, so a payload's external
values are copied into that order and out of it.

Source: executorch backends/xnnpack/serialization/schema.fbs, runtime/XNNCompiler.cpp (the define…
functions) and runtime/XNNExecutor.cpp prepare_args.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.emulator.formats.flatbuffer import Table
from harness.emulator.formats.graph_builder import GraphBuilder
from harness.emulator.formats.model_content import NotReadable, ReadError
from harness.emulator.formats.xnnpack_payload import ABSENT, DYNAMIC, Payload, PayloadNode, Value
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.deconvolution import DECONVOLUTION

_TRANSPOSE_WEIGHTS, _ALIGN_CORNERS, _LEGACY, _KEEP_DIMS = 0x1, 0x8, 0x4, 0x40
_NAMED_RANGES = {
    (-np.inf, np.inf): "NONE",
    (0.0, np.inf): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
}

_UNARY = {
    3: "SOFTMAX",
    4: "LOGISTIC",
    17: "FLOOR",
    22: "SQRT",
    23: "CEIL",
    24: "HARD_SWISH",
    27: "NEG",
    28: "SQUARE",
    30: "ABS",
    40: "RSQRT",
    41: "LOG",
    42: "GELU",
    43: "TANH",
    44: "EXP",
    45: "SIN",
    47: "COS",
}
_BINARY = {1: "ADD", 8: "DIV", 12: "MINIMUM", 15: "MUL", 16: "SUB", 26: "MAXIMUM", 31: "PRELU"}
_CONVERT = 18


@dataclass
class Scope:
    """One payload on its way into a graph.

    Attributes:
        builder: of the graph.
        values: of the payload.
        tensors: the graph's tensor for each value that has one.
        real: for each value quantized when it runs, the real value it is made of.
        name: what to prefix names with.
    """

    builder: GraphBuilder
    values: Mapping[int, Value]
    tensors: dict[int, int]
    real: dict[int, int]
    name: str

    def tensor(self, identity: int) -> int:
        """The graph's tensor of a value; -1 where it is absent."""
        if identity == ABSENT:
            return -1
        if identity not in self.values:
            raise ReadError(f"{self.name}: a node names value {identity}, which there is not")
        identity = self.real.get(identity, identity)
        if identity not in self.tensors:
            value = self.values[identity]
            self.tensors[identity] = self.builder.tensor(
                f"{self.name}/{identity}", value.shape, value.dtype, value.quantization, value.data
            )
        return self.tensors[identity]

    def constant(self, name: str, data: Array) -> int:
        """A constant of this payload that has no value of its own."""
        return self.builder.constant(f"{self.name}/{name}", data)


def add_payload(
    builder: GraphBuilder, payload: Payload, external: Mapping[int, int], name: str
) -> Mapping[int, int]:
    """Add a payload's nodes.

    Args:
        builder: of the graph.
        payload: what the delegate runs.
        external: the graph's tensor for each external value, by the value's id; in XNNPACK's order.
        name: of the delegate call.

    Returns:
        The graph's tensor for each value that has one.

    Raises:
        ReadError: the payload contradicts itself.
    """
    real: dict[int, int] = {}
    for node in payload.nodes:
        if node.kind == _CONVERT:
            source, made = node.table.integer(0), node.table.integer(1)
            if made in payload.values and payload.values[made].datatype == DYNAMIC:
                real[made] = source
    scope = Scope(builder, payload.values, dict(external), real, name)
    outer = builder.place
    for node in payload.nodes:
        builder.place = (*outer, node.handle)
        _add_node(scope, node)
    builder.place = outer
    return scope.tensors


def check_nodes(payload: Payload) -> None:
    """Every node is of a type that is known here.

    Raises:
        NotReadable: one is not.
    """
    known = {*_UNARY, *_BINARY, *_READERS}
    unknown = sorted({node.kind for node in payload.nodes} - known)
    if unknown:
        raise NotReadable(f"with a node of type {unknown[0]}")


def _add_node(scope: Scope, node: PayloadNode) -> None:
    kind, fields = node.kind, node.table
    activation = _NAMED_RANGES.get((node.low, node.high), (node.low, node.high))
    fused: dict[str, Any] = {"fused_activation_function": activation}
    if kind in _UNARY:
        options = {"beta": 1.0} if kind == 3 else {}
        _emit(scope, _UNARY[kind], fields, (0, 1), options)
    elif kind in _BINARY:
        _emit(scope, _BINARY[kind], fields, (0, 1, 2), fused)
    else:
        _READERS[kind](scope, fields, fused)


def _emit(
    scope: Scope,
    op: str,
    fields: Table,
    places: Sequence[int],
    options: Mapping[str, Any],
    *constants: int,
) -> None:
    """A node whose inputs and, last, output are fields of its table; `constants` are tensors."""
    *inputs, output = (scope.tensor(fields.integer(place)) for place in places)
    scope.builder.node(op, (*inputs, *constants), (output,), options)


def _integers(values: Sequence[int]) -> Array:
    return np.asarray(values, np.int32)


def _windows(fields: Table, first: int) -> dict[str, Any]:
    """Padding (top, right, bottom, left), of which `first` is the first field."""
    top, right, bottom, left = (fields.integer(first + n) for n in range(4))
    return {"padding": "EXPLICIT", "padding_h": (top, bottom), "padding_w": (left, right)}


def _strides(fields: Table, stride: int) -> dict[str, Any]:
    """Strides and dilations, of which `stride` is the first field."""
    names = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor")
    return {name: fields.integer(stride + n) for n, name in enumerate(names)}


def _convolution(op: str) -> "Read":
    def read(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
        options = {**_windows(fields, 0), **_strides(fields, 6), **fused}
        _emit(scope, op, fields, (15, 16, 17, 18), options)

    return read


def _deconvolution(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
    options = {**_windows(fields, 0), **_strides(fields, 6), **fused}
    options |= {"adjustment_h": fields.integer(13), "adjustment_w": fields.integer(14)}
    _emit(scope, DECONVOLUTION, fields, (15, 16, 17, 18), options)


def _pool(op: str, *, dilated: bool) -> "Read":
    def read(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
        options = {**_windows(fields, 0), **_strides(fields, 6), **fused}
        options |= {"filter_height": fields.integer(4), "filter_width": fields.integer(5)}
        if not dilated:
            options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        _emit(scope, op, fields, (10, 11), options)

    return read


def _fully_connected(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
    x, w, b = (scope.tensor(fields.integer(field)) for field in range(3))
    y = scope.tensor(fields.integer(3))
    op = "FULLY_CONNECTED"
    if fields.integer(4) & _TRANSPOSE_WEIGHTS:
        weights = scope.builder[w]
        if weights.data is None or weights.quantization is not None:
            op = "FULLY_CONNECTED transposed"
        else:
            w = scope.constant(f"{fields.integer(1)} transposed", weights.data.T)
    scope.builder.node(op, (x, w, b), (y,), {"keep_num_dims": True, **fused})


def _transpose(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    permutation = scope.constant("axes", _integers(fields.integers(1)))
    _emit(scope, "TRANSPOSE", fields, (2, 3), {}, permutation)


def _reshape(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    wanted = tuple(n or -1 for n in fields.integers(1))
    _emit(scope, "RESHAPE", fields, (2, 3), {"new_shape": wanted})


def _copy(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    shape = scope.builder[scope.tensor(fields.integer(1))].shape
    _emit(scope, "RESHAPE", fields, (0, 1), {"new_shape": shape})


def _pad(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    before, after = fields.integers(0), fields.integers(1)
    widths = scope.constant(
        "paddings", _integers([n for p in zip(before, after, strict=True) for n in p])
    )
    x = scope.builder[scope.tensor(fields.integer(3))]
    fill = _quantized(fields.real(2), x)
    _emit(scope, "PADV2", fields, (3, 4), {}, widths, scope.constant("fill", fill))


def _quantized(real: float, like: Tensor) -> Array:
    """A padding value as the tensor's integer.

    Source: XNNPACK src/xnnpack/requantization.h, xnn_qs8_quantize and xnn_qu8_quantize.
    """
    if like.dtype not in {"int8", "uint8"} or like.quantization is None:
        return np.asarray([real], "float16" if like.dtype == "float16" else "float32")
    limits = np.iinfo(like.dtype)
    shifted = np.float32(real) / like.quantization.scales[0] + np.float32(
        like.quantization.zero_points[0]
    )
    return np.asarray([np.rint(np.clip(shifted, limits.min, limits.max))], like.dtype)


def _slice(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    begin = scope.constant("begin", _integers(fields.integers(1)))
    size = scope.constant("size", _integers([n or -1 for n in fields.integers(2)]))
    _emit(scope, "SLICE", fields, (3, 4), {}, begin, size)


def _concatenate(count: int) -> "Read":
    places = (*(1, 2, 3, 4, 7)[:count], 5)

    def read(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
        _emit(scope, "CONCATENATION", fields, places, {"axis": fields.integer(0)})

    return read


def _convert(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    if fields.integer(1) in scope.real:
        return
    made = scope.builder[scope.tensor(fields.integer(1))]
    source = scope.builder[scope.tensor(fields.integer(0))]
    op = "QUANTIZE" if made.quantization is not None else "DEQUANTIZE"
    if made.quantization is None and source.quantization is None:
        op = "CAST"
    _emit(scope, op, fields, (0, 1), {})


def _global_average(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
    rank = len(scope.builder[scope.tensor(fields.integer(0))].shape)
    axes = scope.constant("axes", _integers([rank - 3, rank - 2]))
    op = "MEAN" if fused["fused_activation_function"] == "NONE" else "MEAN with a range"
    options = {"keep_dims": bool(fields.integer(2) & _KEEP_DIMS)}
    _emit(scope, op, fields, (0, 1), options, axes)


def _clamp(scope: Scope, fields: Table, fused: dict[str, Any]) -> None:
    _emit(scope, "CLAMP", fields, (0, 1), fused)


def _leaky_relu(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    _emit(scope, "LEAKY_RELU", fields, (1, 2), {"alpha": fields.real(0)})


def _elu(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    _emit(scope, "ELU", fields, (1, 2), {"alpha": fields.real(0)})


def _batch_matmul(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    options = {"adj_y": bool(fields.integer(3) & _TRANSPOSE_WEIGHTS)}
    _emit(scope, "BATCH_MATMUL", fields, (0, 1, 2), options)


def _resize(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
    flags = fields.integer(4)
    size = scope.constant("size", _integers([fields.integer(0), fields.integer(1)]))
    align, legacy = bool(flags & _ALIGN_CORNERS), bool(flags & _LEGACY)
    options = {"align_corners": align, "half_pixel_centers": not align and not legacy}
    _emit(scope, "RESIZE_BILINEAR", fields, (2, 3), options, size)


def _without_definition(op: str, places: Sequence[int]) -> "Read":
    def read(scope: Scope, fields: Table, _fused: dict[str, Any]) -> None:
        _emit(scope, op, fields, places, {})

    return read


Read = Callable[[Scope, Table, dict[str, Any]], None]
_READERS: dict[int, Read] = {
    2: _fully_connected,
    5: _transpose,
    6: _clamp,
    7: _convolution("CONV_2D"),
    9: _resize,
    10: _pad,
    11: _pool("AVERAGE_POOL_2D", dilated=False),
    13: _convolution("DEPTHWISE_CONV_2D"),
    14: _pool("MAX_POOL_2D", dilated=True),
    18: _convert,
    19: _global_average,
    20: _reshape,
    21: _without_definition("XNNPACK arg max pooling", (6, 7)),
    25: _leaky_relu,
    29: _elu,
    32: _concatenate(2),
    33: _concatenate(3),
    34: _concatenate(4),
    35: _slice,
    36: _without_definition("XNNPACK scaled dot product attention", (0, 1, 2, 3, 4, 5)),
    37: _batch_matmul,
    38: _concatenate(5),
    39: _deconvolution,
    46: _copy,
}
