"""Spectra: RFFT2D, and the parts of complex numbers."""

from collections.abc import Callable

import numpy as np

from harness.emulator.definitions import (
    BY_VALUE,
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

_PARTS: dict[str, Callable[[Array], Array]] = {
    "COMPLEX_ABS": np.abs,
    "REAL": np.real,
    "IMAG": np.imag,
}

BY_VALUE["RFFT2D"] = (1,)
OUTPUT_SHAPES.update(dict.fromkeys(_PARTS, same_shape))


def _lengths(call: Call) -> tuple[int, int]:
    """Rows and columns of the transform; the runtime takes powers of two."""
    wanted = call.input(1).data
    if wanted is None:
        raise NoDefinition("the length of its transform has no value")
    lengths = tuple(int(n) for n in wanted.reshape(-1))
    if len(lengths) != 2 or any(n < 1 or n & (n - 1) for n in lengths):
        raise CannotRun(f"a transform of {list(lengths)}, allowed: two powers of two")
    return lengths[0], lengths[1]


def output_shape(call: Call) -> tuple[int, ...]:
    """(…, rows, columns // 2 + 1)."""
    rows, columns = _lengths(call)
    shape = call.input(0).shape
    if len(shape) < 2 or shape[-2] < rows or shape[-1] < columns:
        raise CannotRun(f"a transform of {[rows, columns]} over {list(shape)}")
    return (*shape[:-2], rows, columns // 2 + 1)


OUTPUT_SHAPES["RFFT2D"] = output_shape


@define(["RFFT2D"], ["float"])
def bind_rfft2d(call: Call) -> Run:
    """The transform of the first rows and columns, in double, rounded to two float32.

    Source: LiteRT kernels/rfft2d.cc, Rfft2dImpl.
    """
    lengths = _lengths(call)

    def run(values: Values) -> tuple[Array]:
        x = required(values[0]).astype(np.float64)
        return (np.fft.rfft2(x, s=lengths, axes=(-2, -1)).astype(np.complex64),)

    return run


@define(list(_PARTS), ["float"])
def bind_part(call: Call) -> Run:
    """The magnitude, the real or the imaginary part of each number.

    Source: LiteRT kernels/complex_support.cc.
    """
    part = _PARTS[call.node.op]
    return lambda values: (np.ascontiguousarray(part(required(values[0])), np.float32),)
