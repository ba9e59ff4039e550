"""Functions of float32 tensors: close to the runtime's, whose libraries differ in the last bits."""

import math
from collections.abc import Callable

import numpy as np

from harness.emulator.definitions import (
    OUTPUT_SHAPES,
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    same_shape,
)
from harness.emulator.graph import Array
from harness.emulator.ops.add import broadcast_shape


def erf(x: Array) -> Array:
    """The error function: the C library's in double, rounded to the input's type.

    scipy has one for arrays, and is 140 MB.
    """
    return np.array(list(map(math.erf, x.ravel().tolist())), x.dtype).reshape(x.shape)


def gelu(x: Array) -> Array:
    """``x Phi(x)``."""
    return np.asarray(0.5 * x * (1 + erf(x * np.float32(math.sqrt(0.5)))))


def gelu_approximate(x: Array) -> Array:
    """GELU through tanh."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _normalize(x: Array) -> Array:
    size = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return np.asarray(x / np.maximum(size, np.float32(1e-6)))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "TANH": np.tanh,
    "ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "GELU": gelu,
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "ABS": np.abs,
    "NEG": np.negative,
    "SQUARE": np.square,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND": np.rint,
    "SIN": np.sin,
    "COS": np.cos,
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "L2_NORMALIZATION": _normalize,
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "DIV": np.divide,
    "POW": np.power,
    "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum,
    "SQUARED_DIFFERENCE": lambda x, y: np.square(x - y),
    "PRELU": lambda x, slope: np.where(x >= 0, x, x * slope),
}
FLOAT_FUNCTIONS = (*_UNARY, *_BINARY, "LEAKY_RELU")

OUTPUT_SHAPES.update(dict.fromkeys(("SQUARE", "FLOOR", "CEIL", "ROUND", "SIN", "COS"), same_shape))
OUTPUT_SHAPES.update(dict.fromkeys(("DIV", "POW"), broadcast_shape))


@define(list(_UNARY), ["float"])
def bind_unary(call: Call) -> Run:
    """One function of each element, in float32."""
    function = _UNARY[call.node.op]
    if call.node.op == "GELU" and call.node.options.get("approximate"):
        function = gelu_approximate
    if call.input(0).dtype != "float32":
        raise NoDefinition("it is not float32")
    if call.node.op == "L2_NORMALIZATION" and not call.input(0).shape:
        raise CannotRun("its input has no dimension, allowed: 1 or more")

    def run(values: Values) -> tuple[Array]:
        return (np.asarray(function(required(values[0])), np.float32),)

    return run


@define(list(_BINARY), ["float"])
def bind_binary(call: Call) -> Run:
    """One function of each pair of elements, in float32."""
    function = _BINARY[call.node.op]
    if call.node.options.get("fused_activation_function", "NONE") != "NONE":
        raise NoDefinition("it has a fused activation")

    def run(values: Values) -> tuple[Array]:
        return (np.asarray(function(required(values[0]), required(values[1])), np.float32),)

    return run


@define(["LEAKY_RELU"], ["float"])
def bind_leaky_relu(call: Call) -> Run:
    """x, below zero ``alpha x``, in float32."""
    alpha = np.float32(call.node.options.get("alpha", 0.0))

    def run(values: Values) -> tuple[Array]:
        x = required(values[0])
        return (np.where(x >= 0, x, x * alpha),)

    return run
