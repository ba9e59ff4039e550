"""Float32 steps that numpy has no operation for."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def fused_multiply_add(a: Float32, b: Float32, c: Float32) -> Float32:
    """``a * b + c`` rounded once, ties to even. Domain: finite, no overflow or subnormal result.

    The product is exact in float64. The sum is rounded there, and then to float32. Rounding twice
    is rounding once unless the first gives a tie of the second: half a step of float32, the first
    of the 29 bits that it drops. Those sums are made `_round_to_odd`, so that the rounding to
    float32 decides as if it saw the exact value.

    Equals the instructions FMADD and VFMADD, which compilers make of ``a * b + c`` on aarch64.
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = np.broadcast_to(c, product.shape)
    total = np.asarray(product + addend)
    ties = (total.view(np.int64) & _DROPPED) == _HALF
    if np.any(ties):
        total[ties] = _round_to_odd(product[ties], addend[ties].astype(np.float64), total[ties])
    return total.astype(np.float32)


_DROPPED = np.int64((1 << 29) - 1)
_HALF = np.int64(1 << 28)


def _round_to_odd(product: Float64, addend: Float64, total: Float64) -> Float64:
    """The sum with its last bit set where it is not exact, `total` being the nearest to it."""
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    # Towards zero when the exact value lies nearer to zero, then to odd.
    inward = (error != 0) & ((error < 0) != (total < 0))
    truncated = np.where(inward, bits - 1, bits)
    return np.where(error != 0, truncated | 1, bits).view(np.float64)


def round_to_bfloat16(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest float32 whose last 16 bits are zero, ties to even. Domain: finite, no overflow.

    Source: XNNPACK include/xnnpack.h and src/xnnpack/math.h, xnn_bfloat16_from_float.
    """
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32)
