"""Portable kernels that compute element by element. Operands meet in their common dtype; integers
wrap, as C's do."""

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.emulator.definitions import Call, CannotRun
from harness.emulator.graph import Array
from harness.emulator.ops.float_functions import erf, gelu, gelu_approximate
from harness.emulator.ops.portable_nodes import (
    as_integers,
    broadcast,
    cast,
    compute_dtype,
    option,
    portable,
)

_COMPARE: dict[str, Callable[..., Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_LOGIC: dict[str, Callable[..., Array]] = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
_BITS: dict[str, Callable[..., Array]] = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}
_PICK: dict[str, Callable[..., Array]] = {"maximum": np.maximum, "minimum": np.minimum}


def _operands(call: Call, x: Array, other: Array | None) -> tuple[Array, Array]:
    """Two tensors, or a tensor and a number, in the dtype that they are computed in."""
    second = option(call, "other") if other is None else other
    dtype = compute_dtype(x, second)
    if isinstance(second, np.ndarray):
        x, second = broadcast(call, x, second)
    return cast(x, dtype), cast(second, dtype)


@portable(*_COMPARE, *_LOGIC, *_BITS, *_PICK)
def pairwise(call: Call, x: Array, other: Array | None = None) -> Array:
    """Comparisons, logic, bits, and the larger or smaller; NaN is both.

    Source: executorch kernels/portable/cpu/pattern/comparison_op.h, logical_op.h, bitwise_op.h;
    op_maximum.cpp, op_minimum.cpp.
    """
    name = call.node.op.removeprefix("aten::")
    return (_COMPARE | _LOGIC | _BITS | _PICK)[name](*_operands(call, x, other))


@portable("add", "sub", "rsub", "mul")
def arithmetic(call: Call, x: Array, other: Array | None = None) -> Array:
    """``x + alpha y``, ``x - alpha y``, ``y - alpha x``, ``x y``.

    Source: executorch kernels/portable/cpu/op_add.cpp, op_sub.cpp, op_rsub.cpp, op_mul.cpp.
    """
    x, y = _operands(call, x, other)
    name = call.node.op.removeprefix("aten::")
    if name == "mul":
        return np.logical_and(x, y) if x.dtype.kind == "b" else np.multiply(x, y)
    alpha = cast(option(call, "alpha"), x.dtype)
    if x.dtype.kind == "b":
        x, y, alpha = (operand.astype(np.int8) for operand in (x, y, alpha))
    if name == "rsub":
        x, y = y, x
    scaled = np.multiply(y, alpha)
    return np.add(x, scaled) if name == "add" else np.subtract(x, scaled)


def _refuse_zero(divisor: Array) -> None:
    if divisor.dtype.kind in "iub" and np.any(divisor == 0):
        raise CannotRun("it divides by zero")


def _floor_quotient(x: Array, y: Array) -> Array:
    """Source: executorch kernels/portable/cpu/util/math_util.h, floor_divide."""
    if x.dtype.kind != "f":
        return np.floor_divide(x, y)
    rest = np.fmod(x, y)
    whole = (x - rest) / y - ((rest != 0) & (np.signbit(rest) != np.signbit(y)))
    return np.where(y == 0, np.where(np.signbit(x), -np.inf, np.inf), whole).astype(x.dtype)


@portable("div", "floor_divide")
def divide(call: Call, x: Array, other: Array | None = None) -> Array:
    """The quotient, or cut towards zero, or the largest integer below it.

    Source: executorch kernels/portable/cpu/op_div.cpp, op_floor_divide.cpp.
    """
    mode = call.node.options.get("mode", "")
    x, y = _operands(call, x, other)
    if call.node.op == "aten::floor_divide" or mode == "floor":
        _refuse_zero(y)
        return _floor_quotient(x, y)
    if mode == "trunc":
        _refuse_zero(y)
        if x.dtype.kind == "f":
            return np.trunc(x / y)
        return _through_double(call, np.floor_divide(x - np.fmod(x, y), y))
    if x.dtype.kind != "f":
        x, y = x.astype(np.float32), y.astype(np.float32)
    return np.divide(x, y)


def _through_double(call: Call, x: Array) -> Array:
    """int64 as it comes back from a function of doubles."""
    return as_integers(call, x.astype(np.float64), x.dtype) if x.dtype == np.int64 else x


@portable("remainder", "fmod")
def remainder(call: Call, x: Array, other: Array | None = None) -> Array:
    """What is left of a division: of integers, always with the dividend's sign, which is not
    PyTorch's remainder; of floats, with the divisor's or the dividend's. fmod goes through double.

    Source: executorch kernels/portable/cpu/op_remainder.cpp, op_fmod.cpp; util/math_util.h,
    remainder_override.
    """
    x, y = _operands(call, x, other)
    _refuse_zero(y)
    if call.node.op == "aten::remainder":
        return np.remainder(x, y) if x.dtype.kind == "f" else np.fmod(x, y)
    if x.dtype == np.int64:
        return as_integers(call, np.fmod(x.astype(np.float64), y.astype(np.float64)), x.dtype)
    return np.fmod(x, y)


@portable("pow", "atan2")
def power(call: Call, *tensors: Array) -> Array:
    """``x^y`` in double, or the angle of a point."""
    base = call.node.options.get("base", tensors[0])
    exponent = call.node.options.get("other", tensors[-1])
    operands: tuple[Any, ...] = (base, exponent)
    if len(tensors) == 2:
        operands = broadcast(call, *tensors)
    dtype = compute_dtype(*operands)
    x, y = (cast(operand, dtype) for operand in operands)
    if call.node.op == "aten::atan2":
        return np.arctan2(x, y)
    return np.power(x.astype(np.float64), y.astype(np.float64))


@portable("clamp", "hardtanh")
def clamp(call: Call, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Not below one bound, then not above the other; NaN stays.

    Source: executorch kernels/portable/cpu/op_clamp.cpp.
    """
    bounds = (call.node.options.get("low", low), call.node.options.get("high", high))
    given = [bound for bound in bounds if bound is not None]
    dtype = compute_dtype(x, *given)
    arrays = [bound for bound in given if isinstance(bound, np.ndarray)]
    x = broadcast(call, x, *arrays)[0].astype(dtype)
    for bound, operation in zip(bounds, (np.maximum, np.minimum), strict=True):
        if bound is not None:
            x = operation(x, cast(bound, dtype))
    return x


_EXACT_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "neg": np.negative,
    "sign": np.sign,
    "bitwise_not": np.invert,
    "logical_not": np.logical_not,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "relu": lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
}
_INTEGERS_STAY = {"floor", "ceil", "round", "trunc"}


@portable(*_EXACT_UNARY)
def unary(call: Call, x: Array) -> Array:
    """Functions whose result is exact; rounding is to even, and leaves integers as they are.

    Source: executorch kernels/portable/cpu/op_abs.cpp and the like; pattern/unary_ufunc_realh.cpp.
    """
    name = call.node.op.removeprefix("aten::")
    if name in _INTEGERS_STAY and x.dtype.kind in "iub":
        return x
    if name == "relu" and x.dtype.kind in "iub":
        return np.asarray(np.maximum(x, x.dtype.type(0)))
    if name == "sign" and x.dtype.kind == "b":
        return x
    return _EXACT_UNARY[name](x)


_FLOAT_UNARY: dict[str, Callable[[Array], Array]] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": erf,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "reciprocal": np.reciprocal,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def _real(x: Array) -> Array:
    """In the dtype that functions of reals are computed in."""
    return x if x.dtype in {np.dtype(np.float32), np.dtype(np.float64)} else x.astype(np.float32)


@portable(*_FLOAT_UNARY)
def real_function(call: Call, x: Array) -> Array:
    """Functions of reals, integers as floats; the last bits are the C library's."""
    return _FLOAT_UNARY[call.node.op.removeprefix("aten::")](_real(x))


@portable("elu", "leaky_relu", "gelu", "logit")
def activation(call: Call, x: Array) -> Array:
    """Functions of reals with parameters.

    Source: executorch kernels/portable/cpu/op_elu.cpp, op_leaky_relu.cpp, op_gelu.cpp,
    op_logit.cpp.
    """
    options, x = call.node.options, _real(x)
    if call.node.op == "aten::elu":
        inner = np.expm1(np.minimum(x, 0) * options["input_scale"]) * options["alpha"]
        return np.asarray(np.where(x <= 0, inner, x) * options["scale"])
    if call.node.op == "aten::leaky_relu":
        return np.where(x > 0, x, x * np.asarray(options["slope"], x.dtype))
    if call.node.op == "aten::gelu":
        return (gelu_approximate if options["approximate"] == "tanh" else gelu)(x)
    if options["eps"] is not None:
        x = np.clip(x, options["eps"], 1 - options["eps"])
    return np.asarray(np.log(x / (1 - x)))
