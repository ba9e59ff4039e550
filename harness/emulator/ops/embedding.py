"""EMBEDDING_LOOKUP of integer rows that become float32."""

import numpy as np

from harness.emulator.definitions import Call, CannotRun, Run, Values, define, required
from harness.emulator.graph import Array
from harness.emulator.ops.hybrid import symmetric_scales


@define(["EMBEDDING_LOOKUP"], ["scaled"])
def bind_scaled_rows(call: Call) -> Run:
    """``s * float(row)``, one scale or one a row.

    The kernel shifts values of 4 and 2 bits to the top of a byte and divides the scale by 16 or 64:
    the same product, for both are powers of two. Domain: no subnormal quotient. Rows of 4 bits are
    read from the whole byte in which they begin: where rows are odd, every second one begins one
    value early.

    Source: LiteRT kernels/embedding_lookup.cc, EvalHybrid.
    """
    scales = symmetric_scales(call.input(1), 0)
    in_a_byte = 2 if call.input(1).dtype == "int4" else 1

    def run(values: Values) -> tuple[Array]:
        indices, rows = required(values[0]).reshape(-1), required(values[1])
        if np.any(indices < 0) or np.any(indices >= len(rows)):
            raise CannotRun(f"an index outside 0..{len(rows) - 1}")
        chosen = scales[indices if len(scales) > 1 else np.zeros_like(indices)]
        factors = chosen.reshape(-1, *[1] * (rows.ndim - 1))
        size = rows[0].size
        first = indices.astype(np.int64) * size // in_a_byte * in_a_byte
        found = rows.reshape(-1)[first[:, np.newaxis] + np.arange(size)]
        return (found.reshape(len(indices), *rows.shape[1:]).astype(np.float32) * factors,)

    return run
