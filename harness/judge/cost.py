"""Cost: what quantization cost, emulator against float, tensor by tensor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError
from harness.records import QuantizationCost, TensorCost

Array = npt.NDArray[Any]


def quantization_cost(
    names: Sequence[str],
    emulated: Sequence[Array],
    reference: Sequence[Array],
    *,
    of: str,
) -> QuantizationCost:
    """What quantization cost, tensor by tensor.

    ``SQNR = 10 log10(sum reference^2 / sum (reference - emulated)^2)`` in dB: inf when equal, -inf
    when the reference is all zero and the other is not. Cosine: 1 when both are zero, 0 when one
    is. Elements that are the same infinity or both NaN are left out; any other element that is
    not finite makes SQNR -inf and cosine 0. Never NaN.

    Args:
        names: of the tensors, outputs first.
        emulated, reference: real values in the same layout.
        of: what the reference is, in words, e.g. ``float model``.

    Raises:
        ModelError: two shapes differ.
    """
    costs = []
    for name, x, x_ref in zip(names, emulated, reference, strict=True):
        if x.shape != x_ref.shape:
            raise ModelError(
                f"tensor {name!r}: shape {x.shape} cannot be compared with the "
                f"{of}'s shape {x_ref.shape}"
            )
        costs.append(tensor_cost(name, x.astype(np.float64), x_ref.astype(np.float64)))
    return QuantizationCost(of, tuple(costs))


def tensor_cost(name: str, x: Array, x_ref: Array) -> TensorCost:
    """SQNR and cosine of two float64 tensors of one shape, as `quantization_cost` has them."""
    same = (x == x_ref) | (np.isnan(x) & np.isnan(x_ref))
    if not np.all(same | (np.isfinite(x) & np.isfinite(x_ref))):
        return TensorCost(name, -np.inf, 0.0)
    kept = np.isfinite(x) & np.isfinite(x_ref)
    x, x_ref = x[kept], x_ref[kept]
    # Squares of large values overflow and of small ones vanish; both measures ignore the unit.
    unit = max(np.abs(x).max(initial=0.0), np.abs(x_ref).max(initial=0.0))
    if unit > 0:
        x, x_ref = x / unit, x_ref / unit
    signal, power, noise = (float(np.sum(v * v)) for v in (x_ref, x, x_ref - x))
    if noise == 0:
        return TensorCost(name, np.inf, 1.0)
    if signal == 0 or power == 0:
        return TensorCost(name, -np.inf if signal == 0 else 0.0, 0.0)
    cosine = float(np.sum(x * x_ref)) / (np.sqrt(signal) * np.sqrt(power))
    sqnr_db = 10 * (np.log10(signal) - np.log10(noise))
    return TensorCost(name, float(sqnr_db), float(np.clip(cosine, -1.0, 1.0)))
