"""ExecuTorch's portable kernels. The order of their float sums is fixed, and so is every bit."""

import math

import numpy as np

from harness.emulator.definitions import (
    Call,
    CannotRun,
    Run,
    Values,
    define,
    required,
)
from harness.emulator.graph import Array
from harness.emulator.ops.mean import make_reduction
from harness.emulator.ops.shape import MOVE


@define(["MEAN", "SUM"], ["in-order"])
def bind_sum(call: Call) -> Run:
    """Elements added one after the other in float32, as they lie in memory; of a mean, then one
    division.

    Source: executorch kernels/portable/cpu/op_mean.cpp, mean_dim_out; op_sum.cpp, sum_dim_out;
    runtime/core/exec_aten/util (reduce_util.h), MapReduceOverDimListPlan.
    """
    reduction = make_reduction(call)
    rank = len(call.input(0).shape)
    kept = [axis for axis in range(rank) if axis not in reduction.axes]
    share = reduction.elements if call.node.op == "MEAN" else 1

    def run(values: Values) -> tuple[Array]:
        x = required(values[0]).transpose(*kept, *reduction.axes)
        rows = x.reshape(-1, reduction.elements)
        total = np.add.accumulate(rows, axis=1, dtype=np.float32)[:, -1]
        return ((total / np.float32(share)).reshape(reduction.shape),)

    return run


@define(["GATHER_ELEMENTS"], [MOVE])
def bind_gather_elements(call: Call) -> Run:
    """One element for each index, from its own place but along one axis; torch.gather.

    Source: executorch kernels/portable/cpu/op_gather.cpp, gather_helper.
    """
    shape, of_indices = call.input(0).shape, call.input(1).shape
    axis = int(call.node.options["axis"])
    if len(shape) != len(of_indices) or not -len(shape) <= axis < len(shape):
        raise CannotRun(f"indices of shape {list(of_indices)} along axis {axis} of {list(shape)}")
    axis %= len(shape)
    others = [slice(0, n) for n in of_indices]
    others[axis] = slice(None)
    if any(i > n for at, (i, n) in enumerate(zip(of_indices, shape, strict=True)) if at != axis):
        raise CannotRun(f"indices of shape {list(of_indices)} for {list(shape)}")

    def run(values: Values) -> tuple[Array]:
        x, indices = required(values[0]), required(values[1])
        if np.any(indices < 0) or np.any(indices >= shape[axis]):
            raise CannotRun(f"an index outside 0..{shape[axis] - 1}")
        return (np.take_along_axis(x[tuple(others)], indices.astype(np.int64), axis),)

    return run


@define(["LAYER_NORM"], ["float"])
def bind_layer_norm(call: Call) -> Run:
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` over the last axes; the means and
    the factors too.

    Source: executorch kernels/portable/cpu/op_native_layer_norm.cpp.
    """
    shape, axes = call.input(0).shape, int(call.node.options["axes"])
    epsilon = np.float32(call.node.options["epsilon"])
    if not 1 <= axes <= len(shape) or not math.prod(shape[-axes:]):
        raise CannotRun(f"the last {axes} axes of {list(shape)}")
    over = tuple(range(-axes, 0))

    def run(values: Values) -> tuple[Array, ...]:
        x, weight, bias = (required(value) for value in values)
        mean = x.mean(axis=over, keepdims=True, dtype=np.float32)
        variance = np.square(x - mean).mean(axis=over, keepdims=True, dtype=np.float32)
        factor = np.float32(1) / np.sqrt(variance + epsilon)
        return (x - mean) * factor * weight + bias, mean, factor

    return run
