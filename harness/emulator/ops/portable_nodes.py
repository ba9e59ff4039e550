"""How kernels that keep PyTorch's names are defined: one function of a call and its values.

A function gives the result's numbers; the shape is checked against the file's and the dtype made
the file's own, as a C cast does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.emulator.definitions import Call, CannotRun, Run, Values, define, required
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.shape import output_dtype

EXACT = "portable"
"""Semantics of what is exact; the same function stands under ``float`` for what is not."""

SATURATING = "portable-saturating"
"""As `EXACT`, on processors whose floats out of range become the nearest integer (aarch64)."""

Function = Callable[..., Any]


def portable(*names: str) -> Callable[[Function], Function]:
    """Enter a function of a call and its input arrays as the definition of these operators.

    Args:
        names: PyTorch's, without the library. Absent inputs are None to the function.
    """

    def enter(function: Function) -> Function:
        def bind(call: Call) -> Run:
            dtypes = [output_dtype(tensor) for tensor in call.outputs]

            def run(values: Values) -> tuple[Array, ...]:
                try:
                    made = function(call, *values)
                except TypeError as error:
                    raise CannotRun(str(error)) from error
                results = made if isinstance(made, tuple) else (made,)
                return tuple(
                    _fitted(y, tensor, dtype)
                    for y, tensor, dtype in zip(results, call.outputs, dtypes, strict=True)
                )

            return run

        define([f"aten::{name}" for name in names], [EXACT, SATURATING, "float"])(bind)
        return function

    return enter


def _fitted(y: object, tensor: Tensor, dtype: np.dtype[Any]) -> Array:
    made = np.asarray(y)
    if made.shape != tensor.shape:
        raise CannotRun(f"makes shape {list(made.shape)}, the file says {list(tensor.shape)}")
    return np.ascontiguousarray(made.astype(dtype, copy=False)).reshape(made.shape)


def as_integers(call: Call, x: Array, dtype: np.dtype[Any]) -> Array:
    """Floats cut towards zero, by the processor's instruction for 64 bits or else for 32 that wrap.

    On x86-64 (cvttss2si) the lowest such integer stands for what these do not hold. Saturating,
    aarch64 (fcvtzs, fcvtzu): the nearest one, and 0 for NaN.
    """
    wide = dtype.itemsize == 8
    saturating = call.semantics == SATURATING
    unsigned = saturating and dtype.kind == "u"
    limits = np.iinfo(
        (np.uint64 if wide else np.uint32) if unsigned else np.int64 if wide else np.int32
    )
    whole = np.trunc(x.astype(np.float64))
    inside = (whole >= limits.min) & (whole < float(limits.max) + 1)
    kept = np.where(inside, whole, 0).astype(np.uint64 if unsigned else np.int64)
    if not saturating:
        return np.where(inside, kept, limits.min).astype(dtype)
    kept = np.where(whole >= float(limits.max) + 1, np.asarray(limits.max, kept.dtype), kept)
    return np.where(whole < limits.min, np.asarray(limits.min, kept.dtype), kept).astype(dtype)


def option(call: Call, name: str) -> Any:  # noqa: ANN401  a number, a list, a string
    """One of the kernel's arguments that are no tensors."""
    return call.node.options[name]


def axis_of(call: Call, x: Array, name: str = "dim") -> int:
    """A dimension of an array, counted from the front; a scalar counts as having one."""
    axis, rank = int(option(call, name)), max(x.ndim, 1)
    if not -rank <= axis < rank:
        raise CannotRun(f"dimension {axis} of {x.ndim}")
    return axis % rank


def axes_of(call: Call, x: Array, name: str = "dims") -> tuple[int, ...]:
    """Dimensions of an array, counted from the front; all where none are named."""
    named = [int(d) for d in option(call, name)]
    if any(not -max(x.ndim, 1) <= d < max(x.ndim, 1) for d in named):
        raise CannotRun(f"dimensions {named} of {x.ndim}")
    return tuple({d % x.ndim: None for d in named}) if named and x.ndim else tuple(range(x.ndim))


def broadcast(call: Call, *arrays: Array | None) -> tuple[Array, ...]:
    """The arrays, when they broadcast to no more than the result that the file names."""
    given = [required(array) for array in arrays]
    shape = np.broadcast_shapes(*(array.shape for array in given))
    if shape != call.output.shape:
        raise CannotRun(f"makes shape {list(shape)}, the file says {list(call.output.shape)}")
    return tuple(given)


def common_dtype(*operands: Array | bool | int | float) -> np.dtype[Any]:
    """The dtype in which operands meet: the widest float of the arrays if there is one, else their
    widest integer; a number counts only where it is of a higher kind than all arrays.

    Source: executorch runtime/core/exec_aten/util/scalar_type_util.h, promoteTypes;
    kernels/portable/cpu/scalar_utils.h, promote_type_with_scalar.
    """
    dtypes = [operand.dtype for operand in operands if isinstance(operand, np.ndarray)]
    numbers = [operand for operand in operands if not isinstance(operand, np.ndarray)]
    floats = [dtype for dtype in dtypes if dtype.kind == "f"]
    found = np.result_type(*(floats or dtypes))
    if found.kind != "f" and any(isinstance(number, float) for number in numbers):
        return np.dtype(np.float32)
    if found.kind == "b" and any(type(number) is int for number in numbers):
        return np.dtype(np.int64)
    return found


def compute_dtype(*operands: Array | bool | int | float) -> np.dtype[Any]:
    """`common_dtype`, and float32 for float16.

    Source: executorch kernels/portable/cpu/util/elementwise_util.h; dtype_util.h,
    get_compute_type.
    """
    found = common_dtype(*operands)
    return np.dtype(np.float32) if found == np.float16 else found


def cast(operand: Array | bool | int | float, dtype: np.dtype[Any]) -> Array:
    """As a C cast to a wider dtype, or of a number that the dtype holds."""
    if dtype.kind in "iu" and isinstance(operand, int):
        limits = np.iinfo(dtype)
        if not limits.min <= operand <= limits.max:
            raise CannotRun(f"{operand} is no {dtype}")
    return np.asarray(operand).astype(dtype)
