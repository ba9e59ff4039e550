"""LOGISTIC, TANH, ELU, GELU, EXP and LOG of 8-bit tensors: tables of 256 outputs."""

import numpy as np

from harness.arithmetic.function_tables import TableQuantization, litert_tables, xnnpack_tables
from harness.emulator.definitions import (
    Call,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array


def _quantization(call: Call) -> TableQuantization:
    dtypes = {call.input(0).dtype, call.output.dtype}
    if len(dtypes) != 1 or not dtypes <= {"int8", "uint8"}:
        raise NoDefinition("its dtypes are not one of 8 bits")
    (s_x, z_x), (s_y, z_y) = scale_and_zero_point(call.input(0)), scale_and_zero_point(call.output)
    return TableQuantization(s_x, z_x, s_y, z_y, call.output.dtype)


@define(["LOGISTIC", "TANH", "ELU", "GELU", "EXP", "LOG"], ["table"], elementwise=1)
@define(["ELU"], ["table-exp"], elementwise=1)
@define(["LOGISTIC", "TANH", "ELU"], ["table-even"], elementwise=1)
def bind_table(call: Call) -> Run:
    """The float32 function of each of the 256 inputs, rounded; "even" as XNNPACK does it,
    "exp" as TFLM does it.

    Source: `harness.arithmetic.function_tables`. LiteRT kernels/activations.cc, exp.cc and
    elementwise.cc, the Prepare functions; XNNPACK src/operators/unary-elementwise-nc.c,
    init_lut_op_with_config.
    """
    approximate = call.node.op == "GELU" and call.node.options.get("approximate")
    name = "GELU approximate" if approximate else call.node.op
    name = "ELU by exp" if call.semantics == "table-exp" else name
    make = xnnpack_tables if call.semantics == "table-even" else litert_tables
    table = make(name, _quantization(call))[0].astype(call.output.dtype)

    def run(values: Values) -> tuple[Array]:
        return (table[required(values[0]).view(np.uint8)],)

    return run
