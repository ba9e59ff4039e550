"""What litert-quantizer takes as it comes: masks of -inf, layers that only give zeros, NaN.

Everything here runs in an isolated process.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Finding
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph
from harness.errors import ModelError
from harness.quantize.inspect_lowered import clipped_constants, narrow_outputs
from harness.quantize.litert.mask_floors import Floors, Span, find_floors
from harness.quantize.litert.patching import LEAST_SCALE, TflitePatch
from harness.quantize.litert.reached import module_path

Array = npt.NDArray[Any]
Ranges = dict[str, dict[str, Array]]

_STEPS = 255
_DEAD = 1e-6
"""A range narrower than that holds nothing."""


def float_graph(source: bytes) -> Graph | None:
    """The graph of a float `.tflite`; None for one that our reader does not take.

    Raises:
        ModelError: a constant holds NaN.
    """
    try:
        graph = read_model(source).main
    except ModelError:
        return None
    for tensor in graph.tensors:
        data = tensor.data
        if data is not None and data.dtype.kind == "f" and np.isnan(data).any():
            raise ModelError(
                f"constant {tensor.name!r} {list(tensor.shape)} holds NaN "
                f"({int(np.isnan(data).sum())} of {data.size} values); "
                "load weights that are finite"
            )
    return graph


def refuse_undefined(ranges: Ranges) -> None:
    """Refuse ranges that NaN or +inf made.

    Raises:
        ModelError: naming the first such tensor.
    """
    for name, seen in ranges.items():
        for bound in ("min", "max"):
            values = np.asarray(seen[bound]) if seen and bound in seen else np.zeros(1)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ModelError(
                    f"tensor {name!r} is {float(values.ravel()[0])} on the calibration data in "
                    "float already: it has no range to quantize; look for log or square root of "
                    "what is not positive, a division by zero, or weights that are not finite"
                )


def mask_floors(graph: Graph, ranges: Ranges, samples: Mapping[int, Array]) -> Floors:
    """See `find_floors`."""
    spans = {name: span for name, seen in ranges.items() if (span := _span(seen)) is not None}
    return find_floors(graph, spans, samples)


def make_masks_finite(source: bytearray, floors: Floors) -> None:
    """Put the floors into the file's constants."""
    changes = {tensor: floor.applied for tensor, floor in floors.constants.items()}
    changes |= {
        tensor: partial(np.full_like, fill_value=value) for tensor, value in floors.factors.items()
    }
    TflitePatch(source).change(changes)


def begin_at_floors(ranges: Ranges, graph: Graph, floors: Floors) -> None:
    """Let the range of whatever holds masked values begin at their floor."""
    for tensor, floor in floors.lowest.items():
        seen = ranges.get(graph.tensors[tensor].name)
        if _span(seen) is not None and seen is not None:
            seen["min"] = np.full_like(seen["min"], floor)
            seen["max"] = np.maximum(seen["max"], seen["min"])


def widen_dead(ranges: Ranges) -> list[str]:
    """Give tensors that held nothing but zeros a range with a usable scale; their names."""
    dead = []
    for name, seen in ranges.items():
        span = _span(seen)
        if span is not None and max(span[1], 0.0) - min(span[0], 0.0) < _DEAD:
            seen["max"] = np.full_like(seen["max"], _STEPS * LEAST_SCALE)
            dead.append(name)
    return dead


def widen_narrow(ranges: Ranges, made: bytes) -> bool:
    """Widen the ranges of outputs whose scale XNNPACK refuses; whether there are any."""
    try:
        narrow = narrow_outputs(read_model(made).main)
    except ModelError:
        return False
    known = {name: scale for name, scale in narrow.items() if _span(ranges.get(name)) is not None}
    for name, scale in known.items():
        seen = ranges[name]
        low = min(float(np.min(seen["min"])), 0.0)
        seen["max"] = np.full_like(seen["max"], low + _STEPS * scale)
    return bool(known)


def dead_findings(names: list[str]) -> tuple[Finding, ...]:
    """A remark for each tensor that held nothing but zeros."""
    return tuple(
        Finding(
            "dead-tensor",
            module_path(name),
            f"it was 0 on all calibration data; its scale is {LEAST_SCALE:.3g} by choice",
            "look whether the layer before it is dead, or calibrate on data that reaches it",
            "note",
        )
        for name in names
    )


def clipped(source: bytearray, made: bytes) -> tuple[Finding, ...]:
    """See `clipped_constants`; none where our reader does not take a file."""
    try:
        return clipped_constants(read_model(bytes(source)).main, read_model(made).main)
    except ModelError:
        return ()


def _span(seen: Mapping[str, Array] | None) -> Span | None:
    """Least and greatest of a float tensor's range."""
    if not seen or "min" not in seen or np.asarray(seen["min"]).dtype.kind != "f":
        return None
    return float(np.min(seen["min"])), float(np.max(seen["max"]))
