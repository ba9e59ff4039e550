"""Portable kernels along dimensions: the largest, the first, sums, products, spreads."""

import numpy as np

from harness.emulator.definitions import Call, CannotRun
from harness.emulator.graph import Array
from harness.emulator.ops.portable_nodes import axes_of, axis_of, option, portable
from harness.emulator.ops.shape import output_dtype


def _kept(call: Call, x: Array, axes: tuple[int, ...]) -> Array:
    """A reduction without its dimensions, in the file's shape, which may keep them."""
    if not call.node.options.get("keepdim") or x.ndim == len(call.output.shape):
        return x
    return np.expand_dims(x, axes)


def _not_empty(x: Array, axes: tuple[int, ...]) -> None:
    if any(x.shape[axis] == 0 for axis in axes):
        raise CannotRun(f"the largest of none, dimensions {list(axes)} of {list(x.shape)}")


@portable("amax", "amin")
def extreme(call: Call, x: Array) -> Array:
    """The largest or smallest over dimensions; NaN is both.

    Source: executorch kernels/portable/cpu/op_amax.cpp, op_amin.cpp.
    """
    axes = axes_of(call, x)
    _not_empty(x, axes)
    operation = np.maximum if call.node.op == "aten::amax" else np.minimum
    return _kept(call, np.asarray(operation.reduce(x, axis=axes)), axes)


@portable("max", "min")
def extreme_and_place(call: Call, x: Array) -> Array | tuple[Array, Array]:
    """The largest or smallest of all, or along a dimension with its place, the first of equal ones;
    the first NaN is both.

    Source: executorch kernels/portable/cpu/op_max.cpp, op_min.cpp.
    """
    largest = call.node.op == "aten::max"
    if "dim" not in call.node.options:
        _not_empty(x, tuple(range(x.ndim)))
        return np.asarray(x.max() if largest else x.min())
    axis, flat = axis_of(call, x), np.atleast_1d(x)
    _not_empty(flat, (axis,))
    place = np.asarray((np.argmax if largest else np.argmin)(flat, axis=axis))
    values = np.take_along_axis(flat, np.expand_dims(place, axis), axis)
    if option(call, "keepdim") or not x.ndim:
        shape = call.output.shape
        return values.reshape(shape), place.reshape(shape)
    return values.squeeze(axis), place


@portable("argmax", "argmin")
def place(call: Call, x: Array) -> Array:
    """The place of the largest or smallest, the first of equal ones; the first NaN is both.

    Source: executorch kernels/portable/cpu/op_argmax.cpp, op_argmin.cpp.
    """
    function = np.argmax if call.node.op == "aten::argmax" else np.argmin
    if option(call, "dim") is None:
        found = np.asarray(function(x))
        return found.reshape([1] * x.ndim) if option(call, "keepdim") else found
    axis = axis_of(call, x)
    found = np.asarray(function(np.atleast_1d(x), axis=axis))
    return _kept(call, found if x.ndim else found.reshape(()), (axis,))


@portable("any")
def whether_any(call: Call, x: Array) -> Array:
    """Whether one is not zero. Source: executorch kernels/portable/cpu/op_any.cpp."""
    axes = tuple(range(x.ndim))
    if "dims" in call.node.options:
        axes = axes_of(call, x)
    elif "dim" in call.node.options and x.ndim:
        axes = (axis_of(call, x),)
    return _kept(call, np.asarray(np.any(x, axis=axes)), axes)


@portable("sum", "prod")
def total(call: Call, x: Array) -> Array:
    """Sum or product in the result's dtype; of integers, modulo its width.

    Source: executorch kernels/portable/cpu/op_sum.cpp, op_prod.cpp.
    """
    axes = tuple(range(x.ndim))
    if "dims" in call.node.options:
        axes = axes_of(call, x)
    elif "dim" in call.node.options and x.ndim:
        axes = (axis_of(call, x),)
    operation = np.add if call.node.op == "aten::sum" else np.multiply
    dtype = output_dtype(call.output)
    return _kept(call, np.asarray(operation.reduce(x.astype(dtype), axis=axes, dtype=dtype)), axes)


@portable("mean")
def mean(call: Call, x: Array) -> Array:
    """Source: executorch kernels/portable/cpu/op_mean.cpp."""
    axes = axes_of(call, x) if "dims" in call.node.options else tuple(range(x.ndim))
    return _kept(call, np.asarray(np.mean(x, axis=axes, dtype=output_dtype(call.output))), axes)


@portable("cumsum")
def running_sum(call: Call, x: Array) -> Array:
    """Sums of all elements up to each, one after the other, in the result's dtype.

    Source: executorch kernels/portable/cpu/op_cumsum.cpp, cumsum_tensors.
    """
    dtype = output_dtype(call.output)
    if not x.ndim:
        return x
    return np.add.accumulate(x.astype(dtype), axis=axis_of(call, x), dtype=dtype)


@portable("topk")
def top(call: Call, x: Array) -> tuple[Array, Array]:
    """The k largest or smallest along a dimension, in order, and their places. Which of equal
    elements come first is the C++ library's choice; here it is the first ones.

    Source: executorch kernels/portable/cpu/op_topk.cpp, perform_topk.
    """
    axis, count = axis_of(call, x), int(option(call, "k"))
    flat = np.atleast_1d(x)
    if not 0 <= count <= flat.shape[axis]:
        raise CannotRun(f"the {count} largest of {flat.shape[axis]}")
    if option(call, "largest"):
        rising = np.argsort(np.flip(flat, axis), axis=axis, kind="stable")
        order = flat.shape[axis] - 1 - np.flip(rising, axis)
    else:
        order = np.argsort(flat, axis=axis, kind="stable")
    order = np.take(order, np.arange(count), axis)
    values = np.take_along_axis(flat, order, axis)
    return values.reshape(call.output.shape), order.reshape(call.output.shape)


@portable("var", "var_mean")
def variance(call: Call, x: Array) -> Array | tuple[Array, Array]:
    """The mean square distance from the mean, with ``n - correction`` for n.

    Source: executorch kernels/portable/cpu/op_var.cpp, compute_variance; op_var_mean.cpp.
    """
    options, axes = call.node.options, axes_of(call, x)
    correction = options.get("correction", float(options.get("unbiased", True)))
    count = int(np.prod([x.shape[axis] for axis in axes]))
    middle = np.asarray(x.mean(axis=axes, keepdims=True))
    divisor = count - (1 if correction is None else correction)
    spread = np.square(x - middle).sum(axis=axes) / (divisor if divisor > 0 else np.nan)
    spread = _kept(call, np.asarray(spread), axes)
    if call.node.op == "aten::var":
        return spread
    return spread, middle.reshape(spread.shape)


@portable("_softmax", "_log_softmax")
def softmax(call: Call, x: Array) -> Array:
    """Along a dimension. Source: executorch kernels/portable/cpu/op_softmax.cpp."""
    axis = axis_of(call, x)
    x = np.atleast_1d(x).astype(np.float32)
    shifted = x - x.max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    whole = powers.sum(axis=axis, keepdims=True)
    y = shifted - np.log(whole) if call.node.op == "aten::_log_softmax" else powers / whole
    return np.asarray(y.reshape(call.output.shape))


@portable("glu")
def gated(call: Call, x: Array) -> Array:
    """One half times the sigmoid of the other. Source: executorch …/portable/cpu/op_glu.cpp."""
    first, gate = np.split(x, 2, axis_of(call, x))
    return np.asarray(first / (1 + np.exp(-gate)))
