"""Ops that move elements, products of computed matrices, and SOFTMAX by a table, in the core.

As in `core.bindings`: refused is whatever the core is not exact for.
"""

import math

import numpy as np
import numpy.typing as npt

from harness.emulator.core import _core, threads
from harness.emulator.core.kernels import Elementwise, Layer, parameters_of
from harness.emulator.core.nodes import LayerRun, MatricesRun, require
from harness.emulator.definitions import DEFINITIONS, Call, Run, scale_and_zero_point
from harness.emulator.ops.accumulate import requantization
from harness.emulator.ops.batch_matmul import is_turned, output_shape
from harness.emulator.ops.shape import MOVE
from harness.emulator.ops.softmax import exp_table

MOVES = {
    "BATCH_TO_SPACE_ND",
    "DEPTH_TO_SPACE",
    "MIRROR_PAD",
    "PAD",
    "PADV2",
    "REVERSE_V2",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
}
"""Ops whose one computed input is the first, and whose elements only change their places."""

_FAR = 1 << 40
"""Added to places, so that no value that fills is taken for one."""
_MOST = 1 << 22
_LEAST_SCALE = 1e-6
"""Of outputs of SOFTMAX: quotients stay finite."""
_DTYPES = ("int8", "uint8", "int16", "int32", "float32")
_INTEGERS = ("int8", "uint8", "int16", "int32")
_BYTES = ("int8", "uint8")


def bind_move(call: Call, _level: str) -> Run:
    """The definition moves the places themselves, once; the core follows them.

    Raises:
        NotHere: the core does not run it.
    """
    x, dtype = call.input(0), call.input(0).dtype
    require(call.semantics == MOVE and dtype in _DTYPES and call.output.dtype == dtype)
    require(x.data is None and all(t is None or t.data is not None for t in call.inputs[1:]))
    count = math.prod(x.shape)
    require(0 < count <= _MOST)
    places = np.arange(_FAR, _FAR + count).reshape(x.shape)
    constants = [None if t is None else t.data for t in call.inputs[1:]]
    (moved,) = DEFINITIONS[call.node.op, MOVE](call)([places, *constants])
    require(moved.dtype == np.int64 and 0 < moved.size <= _MOST)
    flat = moved.reshape(-1)
    inside, fill = flat >= _FAR, 0
    if not inside.all():
        values = np.unique(flat[~inside])
        require(len(values) == 1 and dtype in _INTEGERS)
        fill = int(np.asarray(values[0], dtype).astype(np.int64)) & 0xFFFFFFFF
    runs = _runs(np.where(inside, flat - _FAR, -1))
    kernel = _core.Move(runs, count, np.empty(0, dtype), fill)
    return LayerRun(Layer((kernel,), (1, 1, 1), dtype, dtype, threads()), moved.shape)


def _runs(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """(first, count) of neighbours that stay neighbours; first is -1 where the fill goes."""
    step = np.diff(places)
    filled = places < 0
    joins = np.where(filled[1:], filled[:-1], (step == 1) & ~filled[:-1])
    starts = np.concatenate([[0], np.flatnonzero(~joins) + 1])
    counts = np.diff(np.append(starts, len(places)))
    return np.ascontiguousarray(np.stack([places[starts], counts], axis=1).astype(np.int32))


def bind_softmax(call: Call, _level: str) -> Run:
    """SOFTMAX of bytes under "exp-table"."""
    x, y = call.input(0), call.output
    require(x.data is None and x.dtype in _BYTES and y.dtype in _BYTES)
    require(math.prod(x.shape) > 0)
    scale, zero = scale_and_zero_point(y)
    require(scale > _LEAST_SCALE)
    table = np.ascontiguousarray(exp_table(call), np.float32)
    unsigned = x.dtype == "uint8", y.dtype == "uint8"
    half_added = call.semantics == "exp-table-half-added"
    kernel = _core.Softmax(table, x.shape[-1], scale, zero, *unsigned, half_added)
    return LayerRun(Layer((kernel,), (1, 1, 1), x.dtype, y.dtype, threads()), x.shape)


def bind_matrices(call: Call, level: str) -> Run:
    """BATCH_MATMUL of two computed factors of bytes, with the same leading dimensions."""
    a, b, y = call.input(0), call.input(1), call.output
    require(a.data is None and b.data is None and call.optional(2) is None)
    require(a.dtype == b.dtype and a.dtype in _BYTES and y.dtype in _BYTES)
    shape = output_shape(call)
    require(a.shape[:-2] == b.shape[:-2] and math.prod((*a.shape, *b.shape)) > 0)
    depth = a.shape[-2] if is_turned(call, 0) else a.shape[-1]
    (_, zero_a), (_, zero_b) = (scale_and_zero_point(t) for t in (a, b))
    unsigned = [t.dtype == "uint8" for t in (a, b, y)]
    kernel = _core.make_product(
        level,
        [shape[-2], depth, shape[-1]],
        [zero_a, zero_b],
        [is_turned(call, 0), is_turned(call, 1), *unsigned],
        parameters_of(requantization(call), 1),
    )
    return MatricesRun(Elementwise((kernel,), a.dtype, y.dtype, threads()), shape)


def is_by_table(call: Call) -> bool:
    """Whether it is a SOFTMAX that `bind_softmax` takes."""
    return call.node.op == "SOFTMAX" and call.semantics in {"exp-table", "exp-table-half-added"}
