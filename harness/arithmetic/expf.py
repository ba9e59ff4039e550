"""expf as the C libraries of the devices compute it (glibc since 2.27, musl, Android)."""

import numpy as np
import numpy.typing as npt

_SEGMENTS = 32
_TABLE = np.exp2(np.arange(_SEGMENTS) / _SEGMENTS)
_CUBIC = float.fromhex("0x1.c6af84b912394p-5") / _SEGMENTS**3
_SQUARE = float.fromhex("0x1.ebfce50fac4f3p-3") / _SEGMENTS**2
_LINEAR = float.fromhex("0x1.62e42ff0c52d6p-1") / _SEGMENTS
_INVERSE_LN2 = float.fromhex("0x1.71547652b82fep+0") * _SEGMENTS


def expf(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``exp(x)`` in float32, not always correctly rounded: within 0.502 ULP.

    ``x * 32 / ln 2 = k + r``, ``exp(x) = 2^(k/32) * (1 + c1 r + c2 r^2 + c3 r^3)``, in double,
    rounded once. Domain: finite x.

    Source: Arm optimized-routines math/expf.c (glibc sysdeps/ieee754/flt-32/e_expf.c).
    """
    z = np.float64(_INVERSE_LN2) * x.astype(np.float64)
    k = np.rint(z)
    r = z - k
    whole = k.astype(np.int64)
    power = np.ldexp(_TABLE[whole % _SEGMENTS], whole // _SEGMENTS)
    high = _CUBIC * r + _SQUARE
    low = _LINEAR * r + 1.0
    with np.errstate(over="ignore", under="ignore"):
        return ((high * (r * r) + low) * power).astype(np.float32)
