"""Float ops of ExecuTorch's portable kernels: their order is fixed, and so is every bit."""

import numpy as np

from harness.emulator.definitions import Call, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.mean import make_reduction


@define(["MEAN"], ["in-order"])
def bind_mean(call: Call) -> Run:
    """Elements added one after the other in float32, as they lie in memory; then one division.

    Source: executorch kernels/portable/cpu/op_mean.cpp, mean_dim_out;
    runtime/core/exec_aten/util (reduce_util.h), MapReduceOverDimListPlan.
    """
    reduction = make_reduction(call)
    rank = len(call.input(0).shape)
    kept = [axis for axis in range(rank) if axis not in reduction.axes]

    def run(values: Values) -> tuple[Array]:
        x = required(values[0]).transpose(*kept, *reduction.axes)
        rows = x.reshape(-1, reduction.elements)
        total = np.add.accumulate(rows, axis=1, dtype=np.float32)[:, -1]
        return ((total / np.float32(reduction.elements)).reshape(reduction.shape),)

    return run
