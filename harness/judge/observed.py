"""What was computed, beside the float model's: the tensors of an artifact, to be looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Manifest, TensorSpec, dequantized
from harness.judge.exactness import Emulated
from harness.judge.suspicion import Observed
from harness.records import Run, TensorCost

Array = npt.NDArray[Any]

_INPUT_SAMPLES = 64


def observed_outputs(
    manifest: Manifest,
    outputs: Sequence[Array],
    in_float: Sequence[Array] | None,
    emulated: Emulated,
) -> list[Observed]:
    """The outputs over all samples, as real values."""
    references = in_float or (None,) * len(outputs)
    return [
        Observed(spec.name, x, reference, _bounds(spec), position in emulated.constants)
        for position, (spec, x, reference) in enumerate(
            zip(manifest.outputs, outputs, references, strict=True)
        )
    ]


def observed_inputs(manifest: Manifest, samples: Sequence[Array]) -> list[Observed]:
    """The quantized inputs, on samples spread over the set: what their integers hold of them."""
    found = []
    for spec, x in zip(manifest.inputs, samples, strict=True):
        bounds = _bounds(spec)
        if bounds is not None and x.dtype.kind == "f":
            few = x[:: max(1, len(x) // _INPUT_SAMPLES)]
            found.append(Observed(spec.name, np.clip(few, *bounds), few, bounds))
    return found


def observed_inside(
    manifest: Manifest, emulated: Emulated, in_float: Mapping[str, Array]
) -> list[Observed]:
    """The quantized tensors inside that the float model has as well, on the traced samples."""
    outputs = {spec.name for spec in manifest.outputs}
    return [
        Observed(name, x, in_float[name], emulated.bounds[name])
        for name, x in emulated.tensors.items()
        if name in in_float and name in emulated.bounds and name not in outputs
    ]


def real_output_costs(run: Run) -> tuple[TensorCost, ...]:
    """What quantization cost in each output of real values; of classes and indices no cosine
    says anything."""
    if run.manifest is None or run.cost is None:
        return ()
    specs = run.manifest.outputs
    costs = run.cost.tensors[: len(specs)]  # outputs come first
    return tuple(cost for cost, spec in zip(costs, specs, strict=True) if _is_real(spec))


def _is_real(spec: TensorSpec) -> bool:
    return spec.quantization is not None or np.dtype(spec.dtype).kind == "f"


def _bounds(spec: TensorSpec) -> tuple[float, float] | None:
    if spec.quantization is None or np.dtype(spec.dtype).kind not in "iu":
        return None
    limits, q = np.iinfo(spec.dtype), spec.quantization
    low, high = dequantized(np.array([limits.min, limits.max]), q.scale, q.zero_point)
    return float(low), float(high)
