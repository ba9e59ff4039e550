"""EXP, LOG, GELU and RSQRT of int16 tensors: tables of 513 values, straight lines between them."""

import numpy as np

from harness.arithmetic.expf import expf
from harness.arithmetic.fixed_point import to_int64
from harness.arithmetic.function_tables import LITERT_FUNCTIONS
from harness.arithmetic.interpolation import Function, Real, interpolate, interpolation_table
from harness.arithmetic.logf import logf
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array

_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1


def _function(call: Call, s_y: np.float32) -> Function:
    """The node's function in float32; below its domain, the lowest or highest output."""

    def where_positive(inside: Function, below: np.float32) -> Function:
        return lambda v: np.where(v > 0, inside(np.where(v > 0, v, np.float32(1))), below)

    def root(v: Real) -> Real:
        return np.asarray(np.float32(1) / np.sqrt(v))

    if call.node.op == "EXP":
        return expf
    if call.node.op == "LOG":
        return where_positive(logf, np.float32(_LOWEST) * s_y)
    if call.node.op == "RSQRT":
        return where_positive(root, np.float32(_HIGHEST) * s_y)
    approximate = call.node.options.get("approximate")
    gelu = LITERT_FUNCTIONS["GELU approximate" if approximate else "GELU"]
    return lambda v: gelu(v)[0]


@define(["EXP", "LOG", "GELU", "RSQRT"], ["interpolated", "interpolated-fused"])
def bind_interpolated(call: Call) -> Run:
    """The float32 function at every 128th input; "fused" as in `interpolation_table`.

    Domain: zero points 0; of RSQRT, x >= 0.

    Source: LiteRT kernels/exp.cc, Prepare; elementwise.cc, LogLUTPrepare and GenericPrepare;
    activations.cc, GeluPrepare.
    """
    (s_x, z_x), (s_y, z_y) = scale_and_zero_point(call.input(0)), scale_and_zero_point(call.output)
    if z_x or z_y or not s_x or not s_y:
        raise NoDefinition("it has a zero point, or a scale of 0")
    x_scale, y_scale = np.float32(s_x), np.float32(s_y)
    fused = call.semantics.endswith("fused")
    table = interpolation_table(_function(call, y_scale), x_scale, 0, y_scale, 0, fused=fused)

    def run(values: Values) -> tuple[Array]:
        x = to_int64(required(values[0]))
        if call.node.op == "RSQRT" and x.size and x.min() < 0:
            raise CannotRun("its input is below zero, which the runtime refuses")
        return (interpolate(x, table).astype(np.int16),)

    return run
