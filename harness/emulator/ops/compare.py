"""Comparisons, logic, FLOOR_DIV, FLOOR_MOD, SELECT and WHERE."""

from collections.abc import Callable

import numpy as np

from harness.arithmetic.fixed_point import Int64, to_int64
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.add import broadcast_shape
from harness.emulator.ops.shape import MOVE, check_size, output_dtype, same_quantization

_COMPARE: dict[str, Callable[..., Array]] = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
}
_LOGIC: dict[str, Callable[..., Array]] = {
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
}

OUTPUT_SHAPES.update(dict.fromkeys((*_COMPARE, *_LOGIC, "FLOOR_DIV", "FLOOR_MOD"), broadcast_shape))


@define([*_COMPARE, *_LOGIC], ["plain"])
def bind_plain(call: Call) -> Run:
    """The values as they are, element by element, broadcast."""
    operation = (_COMPARE | _LOGIC)[call.node.op]
    return lambda values: (operation(required(values[0]), required(values[1])),)


@define(["LOGICAL_NOT"], ["plain"])
def bind_not(_call: Call) -> Run:
    """The other one."""
    return lambda values: (np.logical_not(required(values[0])),)


def _rescaled(tensor: Tensor) -> Callable[[Array], Int64]:
    """``S1(2^8 (x - z), s)``: a tensor's real values, in units of 2^-8."""
    scale, zero_point = scale_and_zero_point(tensor)
    if not 0 < scale < 1:
        raise NoDefinition(f"scale {scale} of tensor {tensor.index} is not between 0 and 1")
    multiplier, shift = quantize_multiplier(np.asarray(scale))
    return lambda x: round_s1((to_int64(x) - zero_point) << 8, multiplier, shift)


@define(list(_COMPARE), ["rescaled-S1"])
def bind_rescaled(call: Call) -> Run:
    """Both real values in units of 2^-8, each rounded by S1; then compared.

    Source: LiteRT kernels/comparisons.cc, ComparisonQuantized; internal/reference/comparisons.h,
    ComparisonWithScaling.
    """
    first, second = _rescaled(call.input(0)), _rescaled(call.input(1))
    operation = _COMPARE[call.node.op]
    return lambda values: (operation(first(required(values[0])), second(required(values[1]))),)


def _refuse_zero(divisor: Array) -> None:
    if divisor.dtype.kind in "iu" and np.any(divisor == 0):
        raise CannotRun("division by 0")


@define(["FLOOR_DIV"], ["plain"])
def bind_floor_div(call: Call) -> Run:
    """``floor(x / y)``, the quotient in double. Domain: a quotient that the dtype holds (-2^15 / -1
    is not, and what C then gives is not defined).

    Source: LiteRT kernels/floor_div.cc; internal/reference/floor_div.h, FloorDiv.
    """
    dtype = output_dtype(call.output)

    def run(values: Values) -> tuple[Array]:
        x, y = required(values[0]), required(values[1])
        _refuse_zero(y)
        quotient = np.floor(x.astype(np.float64) / y.astype(np.float64))
        if dtype.kind == "i":
            quotient = np.clip(quotient, np.iinfo(dtype).min, np.iinfo(dtype).max)
        return (quotient.astype(dtype),)

    return run


@define(["FLOOR_MOD"], ["plain"])
def bind_floor_mod(_call: Call) -> Run:
    """The remainder with the divisor's sign: ``r``, or ``r + y`` where their signs differ.

    Source: LiteRT kernels/floor_mod.cc; internal/reference/floor_mod.h, FloorMod.
    """

    def run(values: Values) -> tuple[Array]:
        x, y = required(values[0]), required(values[1])
        _refuse_zero(y)
        remainder = np.fmod(x, y)
        differ = (remainder != 0) & ((y < 0) != (remainder < 0))
        return (np.where(differ, remainder + y, remainder).astype(x.dtype),)

    return run


@define(["SELECT", "SELECT_V2"], [MOVE])
def bind_select(call: Call) -> Run:
    """The first value where the condition holds, else the second; SELECT's condition may be one
    for each row instead of one for each element.

    Source: LiteRT kernels/select.cc.
    """
    same_quantization([*call.inputs[1:], call.output])

    def run(values: Values) -> tuple[Array]:
        condition, x, y = (required(values[i]) for i in (0, 1, 2))
        if call.node.op == "SELECT" and condition.ndim == 1 and x.ndim > 1:
            condition = condition.reshape(-1, *[1] * (x.ndim - 1))
        check_size(np.broadcast_shapes(condition.shape, x.shape, y.shape))
        return (np.where(condition, x, y),)

    return run


@define(["WHERE"], [MOVE])
def bind_where(_call: Call) -> Run:
    """The index vectors of the elements that are not zero, in order, as int64.

    Source: LiteRT kernels/where.cc; internal/reference/reference_ops.h, SelectTrueCoords.
    """
    return lambda values: (np.argwhere(required(values[0])).astype(np.int64),)
