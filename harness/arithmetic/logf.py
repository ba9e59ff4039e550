"""logf as the C libraries of the devices compute it (glibc since 2.27, musl, Android)."""

import numpy as np
import numpy.typing as npt

from harness.arithmetic.fixed_point import to_int64

_INVERSES = np.asarray(
    [
        float.fromhex(f"0x1.{digits}")
        for digits in (
            "661ec79f8f3bep+0",
            "571ed4aaf883dp+0",
            "49539f0f010bp+0",
            "3c995b0b80385p+0",
            "30d190c8864a5p+0",
            "25e227b0b8eap+0",
            "1bb4a4a1a343fp+0",
            "12358f08ae5bap+0",
            "0953f419900a7p+0",
            "0p+0",
            "e608cfd9a47acp-1",
            "ca4b31f026aap-1",
            "b2036576afce6p-1",
            "9c2d163a1aa2dp-1",
            "886e6037841edp-1",
            "767dcf5534862p-1",
        )
    ]
)
_LOGS = -np.log(_INVERSES)
_CUBIC, _SQUARE, _FOURTH = (
    float.fromhex(digits)
    for digits in ("0x1.5575b0be00b6ap-2", "-0x1.ffffef20a4123p-2", "-0x1.00ea348b88334p-2")
)
_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_OFFSET = 0x3F330000


def logf(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``ln(x)`` in float32, not always correctly rounded: within 0.818 ULP.

    ``x = 2^k z``, ``r = z c - 1`` with c near 1 / z, ``ln x = k ln 2 - ln c + r + a2 r^2 + a3 r^3 +
    a4 r^4``, in double, rounded once. Domain: positive and normal x.

    Source: Arm optimized-routines math/logf.c (glibc sysdeps/ieee754/flt-32/e_logf.c).
    """
    bits = to_int64(np.ascontiguousarray(x, np.float32).view(np.int32))
    shifted = bits - _OFFSET
    segment, power = (shifted >> 19) % 16, shifted >> 23
    z = (bits - (power << 23)).astype(np.int32).view(np.float32).astype(np.float64)
    r = z * _INVERSES[segment] - 1.0
    whole = _LOGS[segment] + power * _LN2
    square = r * r
    high = _FOURTH * square + (_CUBIC * r + _SQUARE)
    return np.asarray((high * square + (whole + r)).astype(np.float32))
