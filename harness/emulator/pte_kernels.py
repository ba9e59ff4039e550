"""Puts calls of ExecuTorch's portable kernels into a graph, by the names TFLite has for them.

A kernel without a counterpart keeps its own name, so that it is reported as unknown.

Source: executorch kernels/portable/functions.yaml; kernels/quantized/quantized.yaml; aten's
native_functions.yaml for the order of arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.emulator.flatbuffer import Table
from harness.emulator.graph import Quantization
from harness.emulator.graph_builder import GraphBuilder
from harness.emulator.model_content import ReadError

_NULL, _INT, _BOOL, _DOUBLE, _TENSOR, _INTS, _TENSORS = 1, 2, 3, 4, 5, 7, 10
_MAX_ITEMS = 64


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call; the last is the result.

    Attributes:
        builder: of the graph.
        indices: the program's values.
        value: from such an index to its type and table.
        tensor: from such an index to the graph's tensor.
    """

    builder: GraphBuilder
    indices: tuple[int, ...]
    value: Callable[[int], tuple[int, Table]]
    tensor: Callable[[int], int]

    def node(self, op: str, inputs: Sequence[int], options: Mapping[str, Any]) -> None:
        """Add the call's node, marked as one of a portable kernel."""
        self.builder.node(op, inputs, (self.result,), {**options, "portable": True})

    @property
    def result(self) -> int:
        """The tensor that the kernel writes."""
        return self.tensor(self.indices[-1])

    def tensor_at(self, position: int) -> int:
        """A tensor argument."""
        return self.tensor(self.indices[position])

    def tensor_or(self, position: int, number: float) -> int:
        """A tensor argument; a float32 constant of one element for None."""
        if self.value(self.indices[position])[0] != _NULL:
            return self.tensor_at(position)
        return self.builder.constant("none", np.asarray([number], np.float32))

    def tensors_at(self, position: int) -> list[int]:
        """A list of tensors."""
        kind, table = self.value(self.indices[position])
        if kind != _TENSORS:
            raise ReadError(f"argument {position} is of type {kind}, tensors are wanted")
        return [self.tensor(i) for i in table.integers(0, "<i4")[:_MAX_ITEMS]]

    def all_tensors(self) -> list[int]:
        """Every tensor argument but the result."""
        found = []
        for position, index in enumerate(self.indices):
            kind = self.value(index)[0]
            if kind == _TENSOR and index != self.indices[-1]:
                found.append(self.tensor(index))
            elif kind == _TENSORS and position < len(self.indices) - 1:
                found += self.tensors_at(position)
        return found

    def integer_at(self, position: int, default: int = 0) -> int:
        """An integer or boolean argument; `default` for None."""
        kind, table = self.value(self.indices[position])
        if kind == _NULL:
            return default
        if kind not in {_INT, _BOOL}:
            raise ReadError(f"argument {position} is of type {kind}, an integer is wanted")
        return table.integer(0, "q" if kind == _INT else "B")

    def real_at(self, position: int, default: float = 0.0) -> float:
        """A number; `default` for None."""
        kind, table = self.value(self.indices[position])
        if kind == _DOUBLE:
            return table.real(0, "d")
        return default if kind == _NULL else float(self.integer_at(position))

    def integers_at(self, position: int) -> list[int]:
        """A list of integers; its items are the program's values."""
        kind, table = self.value(self.indices[position])
        if kind == _NULL:
            return []
        if kind != _INTS:
            raise ReadError(f"argument {position} is of type {kind}, integers are wanted")
        items = table.integers(0, "<i8")[:_MAX_ITEMS]
        return [self.value(i)[1].integer(0, "q") for i in items]


def add_kernel_call(arguments: Arguments, name: str) -> None:
    """Add the node of one call.

    Args:
        arguments: of the call.
        name: operator and overload, e.g. ``aten::mean.out``.

    Raises:
        ReadError: the arguments are not the kernel's.
    """
    if not arguments.indices:
        raise ReadError(f"a call of {name} has no arguments")
    read = _KERNELS.get(name)
    if read is None:
        outputs = (
            (arguments.result,) if arguments.value(arguments.indices[-1])[0] == _TENSOR else ()
        )
        arguments.builder.node(name, arguments.all_tensors(), outputs)
    else:
        read(arguments)


Read = Callable[[Arguments], None]


def _elementwise(op: str, inputs: int, scale: int | None = None) -> Read:
    """`scale` is the argument that multiplies the second input; where it is not 1, see the name."""

    def read(arguments: Arguments) -> None:
        tensors = [arguments.tensor_at(i) for i in range(inputs)]
        plain = scale is None or arguments.real_at(scale) == 1
        arguments.node(op if plain else f"{op} scaled", tensors, {})

    return read


def _reshape(arguments: Arguments) -> None:
    shape = arguments.builder[arguments.result].shape
    inputs = (arguments.tensor_at(0),)
    arguments.node("RESHAPE", inputs, {"new_shape": shape})


def _permute(arguments: Arguments) -> None:
    x = arguments.tensor_at(0)
    axes = arguments.integers_at(1)
    constant = arguments.builder.constant("axes", np.asarray(axes, np.int32))
    arguments.node("TRANSPOSE", (x, constant), {})


def _concatenate(arguments: Arguments) -> None:
    tensors = arguments.tensors_at(0)
    rank = len(arguments.builder[arguments.result].shape)
    options = {"axis": arguments.integer_at(1) % max(rank, 1)}
    arguments.node("CONCATENATION", tensors, options)


def _reduce(op: str) -> Read:
    def read(arguments: Arguments) -> None:
        x = arguments.tensor_at(0)
        rank = len(arguments.builder[x].shape)
        axes = arguments.integers_at(1) or list(range(rank))
        constant = arguments.builder.constant("axes", np.asarray(axes, np.int32))
        options = {"keep_dims": bool(arguments.integer_at(2))}
        arguments.node(op, (x, constant), options)

    return read


def _cast(arguments: Arguments) -> None:
    arguments.node("CAST", (arguments.tensor_at(0),), {})


def _expand(arguments: Arguments) -> None:
    shape = np.asarray(arguments.builder[arguments.result].shape, np.int32)
    inputs = (arguments.tensor_at(0), arguments.builder.constant("shape", shape))
    arguments.node("BROADCAST_TO", inputs, {})


def _slice(arguments: Arguments) -> None:
    """The result's shape says where it ends; with steps, see the name."""
    x = arguments.tensor_at(0)
    shape, size = arguments.builder[x].shape, arguments.builder[arguments.result].shape
    if not shape:
        raise ReadError("a slice of a scalar")
    axis, start = arguments.integer_at(1) % len(shape), arguments.integer_at(2)
    begin = [0] * len(shape)
    begin[axis] = min(max(start + shape[axis] if start < 0 else start, 0), shape[axis])
    places = [np.asarray(value, np.int32) for value in (begin, size)]
    inputs = (x, *(arguments.builder.constant("place", value) for value in places))
    steps = arguments.integer_at(4, 1)
    arguments.node("SLICE" if steps == 1 else "SLICE with steps", inputs, {})


def _embedding(arguments: Arguments) -> None:
    inputs = (arguments.tensor_at(0), arguments.tensor_at(1))
    arguments.node("GATHER", inputs, {"axis": 0})


def _gather(arguments: Arguments) -> None:
    inputs = (arguments.tensor_at(0), arguments.tensor_at(2))
    arguments.node("GATHER_ELEMENTS", inputs, {"axis": arguments.integer_at(1)})


def _layer_norm(arguments: Arguments) -> None:
    """Three results: the values, and the means and inverse deviations that they were made with."""
    inputs = [arguments.tensor_at(0), arguments.tensor_or(2, 1), arguments.tensor_or(3, 0)]
    outputs = [arguments.tensor_at(i) for i in (5, 6, 7)]
    options = {"axes": len(arguments.integers_at(1)), "epsilon": arguments.real_at(4)}
    arguments.builder.node("LAYER_NORM", inputs, outputs, {**options, "portable": True})


def _pad(arguments: Arguments) -> None:
    x = arguments.tensor_at(0)
    tensor = arguments.builder[x]
    flat = arguments.integers_at(1)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    widths = [(0, 0)] * (len(tensor.shape) - len(pairs)) + pairs
    constant = arguments.builder.constant("paddings", np.asarray(widths, np.int32).reshape(-1, 2))
    fill = np.asarray([arguments.real_at(2)]).astype(tensor.dtype)
    inputs = (x, constant, arguments.builder.constant("fill", fill))
    arguments.node("PADV2", inputs, {})


def _clamp(arguments: Arguments) -> None:
    low, high = arguments.real_at(1, -np.inf), arguments.real_at(2, np.inf)
    options = {"fused_activation_function": (low, high)}
    inputs = (arguments.tensor_at(0),)
    arguments.node("CLAMP", inputs, options)


def _relu(arguments: Arguments) -> None:
    options = {"fused_activation_function": "RELU"}
    inputs = (arguments.tensor_at(0),)
    arguments.node("CLAMP", inputs, options)


def _softmax(arguments: Arguments) -> None:
    x = arguments.tensor_at(0)
    last = arguments.integer_at(1) % max(len(arguments.builder[x].shape), 1)
    is_last = last == len(arguments.builder[x].shape) - 1
    op = "SOFTMAX" if is_last else "aten::_softmax.out"
    arguments.node(op, (x,), {"beta": 1.0})


def _quantization(arguments: Arguments, tensor: int) -> str | None:
    """Attach the scale and zero point of a call; the reason when the tensor has others."""
    scale, zero_point = np.float32(arguments.real_at(1)), arguments.integer_at(2)
    found = Quantization(np.asarray([scale]), np.asarray([zero_point], np.int64))
    if not np.isfinite(scale) or scale < 0 or not found.zero_points_are_int32:
        raise ReadError(f"a scale of {scale} and a zero point of {zero_point}")
    return None if arguments.builder.quantize(tensor, found) else "with a second quantization"


def _quantize(arguments: Arguments) -> None:
    wrong = _quantization(arguments, arguments.result)
    dtype = arguments.builder[arguments.result].dtype
    limits = (arguments.integer_at(3), arguments.integer_at(4))
    if dtype in {"int8", "uint8"}:
        info = np.iinfo(dtype)
        wrong = wrong or (None if limits == (info.min, info.max) else "to a part of its range")
    op = f"QUANTIZE {wrong}" if wrong else "QUANTIZE"
    arguments.node(op, (arguments.tensor_at(0),), {})


def _dequantize(arguments: Arguments) -> None:
    wrong = _quantization(arguments, arguments.tensor_at(0))
    op = f"DEQUANTIZE {wrong}" if wrong else "DEQUANTIZE"
    arguments.node(op, (arguments.tensor_at(0),), {})


_KERNELS: dict[str, Read] = {
    "quantized_decomposed::quantize_per_tensor.out": _quantize,
    "quantized_decomposed::dequantize_per_tensor.out": _dequantize,
    "aten::permute_copy.out": _permute,
    "aten::cat.out": _concatenate,
    "aten::mean.out": _reduce("MEAN"),
    "aten::sum.IntList_out": _reduce("SUM"),
    "aten::native_layer_norm.out": _layer_norm,
    "aten::expand_copy.out": _expand,
    "aten::slice_copy.Tensor_out": _slice,
    "aten::embedding.out": _embedding,
    "aten::gather.out": _gather,
    "dim_order_ops::_to_dim_order_copy.out": _cast,
    "aten::constant_pad_nd.out": _pad,
    "aten::clamp.out": _clamp,
    "aten::hardtanh.out": _clamp,
    "aten::relu.out": _relu,
    "aten::_softmax.out": _softmax,
    "aten::sigmoid.out": _elementwise("LOGISTIC", 1),
    "aten::add.out": _elementwise("ADD", 2, 2),
    "aten::sub.out": _elementwise("SUB", 2, 2),
    "aten::mul.out": _elementwise("MUL", 2),
    **dict.fromkeys(
        (
            "aten::view_copy.out",
            "aten::squeeze_copy.dim_out",
            "aten::squeeze_copy.dims_out",
            "aten::unsqueeze_copy.out",
            "aten::clone.out",
            "aten::detach_copy.out",
            "aten::alias_copy.out",
            "dim_order_ops::_clone_dim_order.out",
        ),
        _reshape,
    ),
}
