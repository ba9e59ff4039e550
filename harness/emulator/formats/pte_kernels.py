"""Puts calls of ExecuTorch's portable kernels into a graph, by the names TFLite has for them.

A kernel without a counterpart keeps its own name, so that it is reported as unknown.

Source: executorch kernels/portable/functions.yaml; kernels/quantized/quantized.yaml; aten's
native_functions.yaml for the order of arguments.
"""

from collections.abc import Callable

import numpy as np

from harness.emulator.formats.model_content import NotReadable, ReadError
from harness.emulator.formats.pte_arguments import Arguments
from harness.emulator.formats.pte_own_kernels import OWN_KERNELS
from harness.emulator.graph import Quantization

Read = Callable[[Arguments], None]


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
    read = _KERNELS.get(name) or OWN_KERNELS.get(name)
    try:
        if read is not None:
            read(arguments)
            return
    except NotReadable as reason:
        name = f"{name} {reason}"
    arguments.builder.node(name, arguments.all_tensors(), arguments.results)
    if not arguments.results:
        arguments.computed.add(arguments.indices[-1])


def _of_floats(name: str, read: Read, scale: int | None = None) -> tuple[str, Read]:
    """The entry of a kernel that is TFLite's for float32 only; under its own name for others.

    Args:
        name: of the kernel.
        read: a call of float32.
        scale: the argument that multiplies the second input, which must be 1.
    """

    def read_either(arguments: Arguments) -> None:
        builder = arguments.builder
        dtypes = {builder[i].dtype for i in (*arguments.all_tensors(), arguments.result)}
        plain = scale is None or arguments.real_at(scale) == 1
        (read if plain and dtypes == {"float32"} else OWN_KERNELS[name])(arguments)

    return name, read_either


def _elementwise(op: str, inputs: int) -> Read:
    def read(arguments: Arguments) -> None:
        arguments.node(op, [arguments.tensor_at(i) for i in range(inputs)], {})

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
    """The result's shape says where it ends; steps are the kernel's own."""
    if arguments.integer_at(4, 1) != 1:
        OWN_KERNELS["aten::slice_copy.Tensor_out"](arguments)
        return
    x = arguments.tensor_at(0)
    shape, size = arguments.builder[x].shape, arguments.builder[arguments.result].shape
    if not shape:
        raise ReadError("a slice of a scalar")
    axis, start = arguments.integer_at(1) % len(shape), arguments.integer_at(2)
    begin = [0] * len(shape)
    begin[axis] = min(max(start + shape[axis] if start < 0 else start, 0), shape[axis])
    places = [np.asarray(value, np.int32) for value in (begin, size)]
    inputs = (x, *(arguments.builder.constant("place", value) for value in places))
    arguments.node("SLICE", inputs, {})


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
    if min(flat, default=0) < 0:
        OWN_KERNELS["aten::constant_pad_nd.out"](arguments)
        return
    widths = [(0, 0)] * (len(tensor.shape) - len(pairs)) + pairs
    constant = arguments.builder.constant("paddings", np.asarray(widths, np.int32).reshape(-1, 2))
    fill = np.asarray([arguments.real_at(2)]).astype(tensor.dtype)
    inputs = (x, constant, arguments.builder.constant("fill", fill))
    arguments.node("PADV2", inputs, {})


def _softmax(arguments: Arguments) -> None:
    x = arguments.tensor_at(0)
    last = arguments.integer_at(1) % max(len(arguments.builder[x].shape), 1)
    if last == len(arguments.builder[x].shape) - 1:
        arguments.node("SOFTMAX", (x,), {"beta": 1.0})
    else:
        OWN_KERNELS["aten::_softmax.out"](arguments)


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
    "aten::native_layer_norm.out": _layer_norm,
    "aten::expand_copy.out": _expand,
    "aten::slice_copy.Tensor_out": _slice,
    "aten::embedding.out": _embedding,
    "aten::gather.out": _gather,
    "aten::_to_copy.out": _cast,
    "dim_order_ops::_to_dim_order_copy.out": _cast,
    **dict(
        (
            _of_floats("aten::cat.out", _concatenate),
            _of_floats("aten::mean.out", _reduce("MEAN")),
            _of_floats("aten::sum.IntList_out", _reduce("SUM")),
            _of_floats("aten::constant_pad_nd.out", _pad),
            _of_floats("aten::_softmax.out", _softmax),
            _of_floats("aten::sigmoid.out", _elementwise("LOGISTIC", 1)),
            _of_floats("aten::add.out", _elementwise("ADD", 2), scale=2),
            _of_floats("aten::sub.out", _elementwise("SUB", 2), scale=2),
            _of_floats("aten::mul.out", _elementwise("MUL", 2)),
        )
    ),
    **dict.fromkeys(
        (
            "aten::view_copy.out",
            "aten::squeeze_copy.dim_out",
            "aten::squeeze_copy.dims_out",
            "aten::unsqueeze_copy.out",
            "aten::clone.out",
            "aten::detach_copy.out",
            "aten::alias_copy.out",
            "aten::lift_fresh_copy.out",
            "dim_order_ops::_clone_dim_order.out",
            "executorch_prim::et_view.default",
        ),
        _reshape,
    ),
}
