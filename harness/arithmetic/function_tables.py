"""Functions of 8-bit tensors that runtimes compute in float32 for all 256 inputs, as a table.

The last bits of tanhf and its like differ from one C library to another, and a compiler may fuse a
product with a sum. A table hardly ever depends on them. So a function is given here as candidates:
the value that is nearest to the exact one, and those furthest from it that a library may return.
Where all candidates lead to the same 256 integers, the table is the same everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.expf import expf
from harness.arithmetic.fixed_point import Int64, round_half_away, to_int64
from harness.arithmetic.float_steps import fused_multiply_add
from harness.arithmetic.logf import logf

Float32 = npt.NDArray[np.float32]
Candidates = tuple[Float32, ...]

_ULPS = 4
"""No tanhf, expm1f or erfcf in use is further from the exact value (glibc's manual, "Known
Maximum Errors in Math Functions": 3)."""


@dataclass(frozen=True)
class TableQuantization:
    """What a table depends on besides its function: scales (float32 values), zero points, and the
    dtype of input and output, ``int8`` or ``uint8``."""

    s_x: float
    z_x: int
    s_y: float
    z_y: int
    dtype: str

    @property
    def inputs(self) -> Float32:
        """All inputs less the zero point, by their stored byte."""
        stored = to_int64(np.arange(256, dtype=np.uint8).view(self.dtype))
        return (stored - self.z_x).astype(np.float32)


def _around(exact: npt.NDArray[Any]) -> Candidates:
    nearest = exact.astype(np.float32)
    margin = np.float32(_ULPS) * np.spacing(np.abs(nearest))
    return nearest, nearest - margin, nearest + margin


def _tanh(v: Float32) -> Candidates:
    return _around(np.tanh(v.astype(np.float64)))


def _elu(v: Float32) -> Candidates:
    below = _around(np.expm1(np.minimum(v, 0).astype(np.float64)))
    return tuple(np.where(v < 0, y, v) for y in below)


def _elu_by_exp(v: Float32) -> Candidates:
    """``exp(v) - 1`` below 0, two roundings.

    Source: TFLM micro/kernels/elu.cc, CalculateOpData.
    """
    return (np.where(v < 0, expf(np.minimum(v, 0)) - np.float32(1), v),)


def _log(v: Float32) -> Candidates:
    """Minus infinity for 0 and below: it ends at the lowest output, as the runtime's value does."""
    inside = np.maximum(v, np.finfo(np.float32).tiny)
    return (np.where(v > 0, logf(inside), np.float32(-np.inf)),)


def _gelu(v: Float32) -> Candidates:
    """``0.5 v erfc(-v / sqrt 2)``.

    Source: LiteRT kernels/internal/reference/gelu.h, GeluTransform.
    """
    arguments = (v * np.float32(-math.sqrt(0.5))).tolist()
    factors = _around(np.asarray([math.erfc(a) for a in arguments]))
    return tuple(np.float32(0.5) * v * factor for factor in factors)


def _gelu_approximate(v: Float32) -> Candidates:
    """``0.5 v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3)))``.

    Source: LiteRT kernels/internal/reference/gelu.h, GeluTransformApproximate.
    """
    squared = np.float32(0.044715) * v * v
    sums = (v + squared * v, fused_multiply_add(squared, v, v))
    factors = [y for x in sums for y in _tanh(np.float32(math.sqrt(2 / math.pi)) * x)]
    return tuple(np.float32(0.5) * v * (np.float32(1) + factor) for factor in factors)


def _logistic(v: Float32) -> Candidates:
    return (np.float32(1) / (np.float32(1) + expf(-v)),)


def _logistic_double(v: Float32) -> Candidates:
    """``e / (1 + e)``, e the double exp, whose error hardly ever reaches the float32."""
    e = np.exp(np.clip(v, -100, 100).astype(np.float64))
    return ((e / (1 + e)).astype(np.float32),)


Function = Callable[[Float32], Candidates]

LITERT_FUNCTIONS: dict[str, Function] = {
    "LOGISTIC": _logistic,
    "TANH": _tanh,
    "ELU": _elu,
    "ELU by exp": _elu_by_exp,
    "GELU": _gelu,
    "GELU approximate": _gelu_approximate,
    "EXP": lambda v: (expf(v),),
    "LOG": _log,
}
XNNPACK_FUNCTIONS: dict[str, Function] = {
    "LOGISTIC": _logistic_double,
    "TANH": _tanh,
    "ELU": _elu,
}

Tables = tuple[Int64, ...]
"""Outputs by the input's stored byte, one table for each candidate; the first is the nearest."""


def litert_tables(name: str, q: TableQuantization) -> Tables:
    """``round(f(s_x (x - z_x)) * (1 / s_y)) + z_y``, ties away from zero, all in float32.

    From 2^31 on, the conversion to integers gives the highest output on aarch64, as here, and the
    lowest on x86.

    Source: LiteRT kernels/internal/common.h, LUTPopulateInt8.
    """
    limits = np.iinfo(q.dtype)
    inverse = np.float32(1) / np.float32(q.s_y)
    candidates = LITERT_FUNCTIONS[name](np.float32(q.s_x) * q.inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = [round_half_away(y * inverse) + np.float32(q.z_y) for y in candidates]
    return tuple(to_int64(np.clip(y, limits.min, limits.max)) for y in rounded)


def litert_overflows(name: str, q: TableQuantization) -> bool:
    """Whether an entry of `litert_tables` is not the same on every machine: 2^31 or above."""
    candidates = LITERT_FUNCTIONS[name](np.float32(q.s_x) * q.inputs)
    return any(not np.all(y < np.float32(q.s_y) * np.float32(2.0**30)) for y in candidates)


def xnnpack_tables(name: str, q: TableQuantization) -> Tables:
    """``rint(f((x - z_x) s_x) * (1 / s_y) + z_y)``, ties to even, in float32.

    The last product and sum are two roundings on x86, and may be one on aarch64.

    Source: XNNPACK src/reference/unary-elementwise.cc; src/xnnpack/reference-utils.h, dequantize
    and quantize.
    """
    limits = np.iinfo(q.dtype)
    inverse, z_y = np.float32(1) / np.float32(q.s_y), np.float32(q.z_y)
    candidates = XNNPACK_FUNCTIONS[name](q.inputs * np.float32(q.s_x))
    scaled = [y * inverse + z_y for y in candidates]
    factor, addend = np.asarray(inverse), np.asarray(z_y)
    scaled += [fused_multiply_add(y, factor, addend) for y in candidates]
    return tuple(to_int64(np.clip(np.rint(y), limits.min, limits.max)) for y in scaled)


def are_equal(tables: Tables) -> bool:
    """Whether neither a C library nor a compiler can change an entry."""
    return all(np.array_equal(table, tables[0]) for table in tables)
