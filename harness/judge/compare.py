"""Compare: device against emulator, element by element.

Integers are compared as integers, with no tolerance. Float tensors are measured in ULP (steps
between neighbouring floats) and by the size of the difference, and never decide whether a run
passes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.graph import Graph, Node
from harness.emulator.interpreter import Emulation, Undefined, accumulator_at
from harness.host.wording import short_name
from harness.judge.cost import tensor_cost
from harness.records import (
    HISTOGRAM_LIMIT,
    Divergence,
    Exactness,
    Promise,
    TensorComparison,
    Verdict,
)

_KEPT_PROMISES = ("exact", "assumed")
_COMPARABLE_KINDS = "biuf"

Array = npt.NDArray[Any]


def compare_tensor(
    name: str,
    expected: Array | None,
    got: Array | None,
    promise: Promise,
    *,
    tensor: int | None = None,
    node: int | None = None,
    op: str | None = None,
) -> TensorComparison:
    """Compare one tensor of the device (`got`) with the emulator's (`expected`); None is absent.

    The difference of two integers is exact (int64, or Python integers for 64-bit dtypes). The
    difference of two floats is the number of representable values between them, so that
    neighbours are 1 apart and -0.0 equals 0.0; two NaN are equal.
    """
    present = expected if expected is not None else got
    elements = 0 if present is None else int(present.size)
    place = TensorComparison(name, promise, elements, None, tensor=tensor, node=node, op=op)
    if expected is None or got is None:
        missing = "the emulator" if expected is None else "the device"
        return replace(place, remark=f"{missing} has no such tensor")
    if expected.shape != got.shape:
        return replace(place, remark=f"shape {got.shape}, expected {expected.shape}")
    if expected.dtype.newbyteorder("=") != got.dtype.newbyteorder("="):
        return replace(place, remark=f"dtype {got.dtype}, expected {expected.dtype}")
    if expected.dtype.kind == "c":  # real and imaginary parts, side by side
        parts = f"f{expected.dtype.itemsize // 2}"
        expected, got = (np.ascontiguousarray(x).view(parts) for x in (expected, got))
        place = replace(place, elements=int(expected.size))
    if expected.dtype.kind not in _COMPARABLE_KINDS or expected.dtype.itemsize > 8:
        return replace(place, remark=f"dtype {expected.dtype} cannot be compared")
    return _count_differences(place, expected, got)


def _count_differences(place: TensorComparison, expected: Array, got: Array) -> TensorComparison:
    """Fill in the counts, the histogram and the first differing element."""
    differs = expected != got
    if expected.dtype.kind == "f":
        differs &= ~(np.isnan(expected) & np.isnan(got))
        cost = tensor_cost(place.name, got.astype(np.float64), expected.astype(np.float64))
        place = replace(place, sqnr_db=cost.sqnr_db)
    at = np.flatnonzero(differs)
    equal = place.elements - len(at)
    bins = {0: equal} if equal else {}
    if not len(at):
        return replace(place, differing=0, max_lsb=0, histogram=tuple(bins.items()))
    lsb = _steps(got.reshape(-1)[at]) - _steps(expected.reshape(-1)[at])
    gathered = np.clip(lsb, -HISTOGRAM_LIMIT, HISTOGRAM_LIMIT).astype(np.int64)
    steps, counts = np.unique(gathered, return_counts=True)
    bins |= dict(zip(steps.tolist(), counts.tolist(), strict=True))
    index = np.unravel_index(at[0], expected.shape)
    return replace(
        place,
        differing=len(at),
        max_lsb=int(np.abs(lsb).max()),
        histogram=tuple(sorted(bins.items())),
        example=Divergence(
            tuple(int(i) for i in index), _scalar(expected[index]), _scalar(got[index])
        ),
    )


def _steps(x: Array) -> Array:
    """Numbers whose difference is the distance in LSB: integers as they are; floats as their rank
    among all floats of the dtype (the bit pattern, mirrored for negative ones).

    64-bit values become Python integers, because their difference may need 65 bits.
    """
    x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
    wide = object if x.dtype.itemsize == 8 else np.int64
    if x.dtype.kind != "f":
        return x.astype(wide)
    bits = x.view(f"i{x.dtype.itemsize}").astype(wide)
    lowest = -(1 << (8 * x.dtype.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits)


def _scalar(value: Any) -> int | float:  # noqa: ANN401  a numpy scalar of any number type
    """A Python number; True is 1, as the bit that was compared."""
    number = value.item()
    return int(number) if isinstance(number, bool) else number


def compare(
    graph: Graph,
    emulation: Emulation,
    got: Mapping[int, Array],
    *,
    profile: ArithmeticProfile,
) -> Exactness:
    """Compare what a device computed with what the emulator expects, in execution order.

    Outputs are always compared; other tensors when both sides kept them.

    Args:
        graph: the artifact's graph.
        emulation: of the same samples.
        got: the device's tensors, by index in the graph.
        profile: the one that was emulated.
    """
    expected = dict(emulation.tensors)
    promises: dict[int, Promise] = dict(emulation.promises)
    for tensor, x in zip(graph.outputs, emulation.outputs, strict=True):
        if x is not None:
            expected[tensor] = x
            promises.setdefault(tensor, "exact")  # a constant: no arithmetic made it
    compared: dict[int, TensorComparison] = {}
    first = broken = None
    for tensor, node in _in_execution_order(graph):
        promise = promises.get(tensor, "unknown")
        x, x_device = expected.get(tensor), got.get(tensor)
        if tensor not in graph.outputs and (x is None or x_device is None):
            continue
        one = compare_tensor(
            graph.tensors[tensor].name,
            x if promise != "unknown" else None,
            x_device,
            promise,
            tensor=tensor,
            node=None if node is None else node.index,
            op=None if node is None else node.op,
        )
        both = promise != "unknown" and x is not None and x_device is not None
        mismatched = both and one.differing is None
        if first is None and (mismatched or (one.differing and promise in _KEPT_PROMISES)):
            one = first = _with_accumulator(one, graph, profile, emulation.tensors)
        if broken is None and (mismatched or (one.differing and promise == "exact")):
            broken = one
        compared[tensor] = one
    outputs = tuple(compared.pop(tensor) for tensor in dict.fromkeys(graph.outputs))
    if broken is not None:
        verdict, reason = _differs(broken)
    else:
        verdict, reason = _judge(outputs, profile.name, emulation.unknown, _doubt(graph, promises))
    return Exactness(profile.name, verdict, outputs, tuple(compared.values()), first, reason=reason)


def _in_execution_order(graph: Graph) -> Iterator[tuple[int, Node | None]]:
    """Every tensor that is not a constant, with the node that makes it, each once; then outputs
    that no node makes."""
    seen: set[int] = set()
    made_by = [(None, graph.inputs), *((node, node.outputs) for node in graph.nodes)]
    for node, tensors in [*made_by, (None, graph.outputs)]:
        for tensor in tensors:
            if tensor >= 0 and tensor not in seen:
                seen.add(tensor)
                yield tensor, node


def _doubt(graph: Graph, promises: Mapping[int, Promise]) -> dict[Promise, str]:
    """The first node of each lesser promise, in words: that is where the doubt begins."""
    words: dict[Promise, str] = {}
    for tensor, node in _in_execution_order(graph):
        if node is not None:
            place = f"{node.op} (node {node.index}, {short_name(graph.tensors[tensor].name)!r})"
            words.setdefault(promises.get(tensor, "unknown"), place)
    return words


def _with_accumulator(
    one: TensorComparison, graph: Graph, profile: ArithmeticProfile, tensors: Mapping[int, Array]
) -> TensorComparison:
    """Add the accumulator behind the differing element, where the emulator can tell.

    The step that the element belongs to is computed again, alone: a convolution over all samples
    would need memory for all of them.
    """
    if one.example is None or one.node is None or not one.example.index:
        return one
    node, batch = graph.nodes[one.node], graph.tensors[graph.inputs[0]] if graph.inputs else None
    if batch is None or not batch.shape or not {batch.index, one.tensor} <= tensors.keys():
        return one
    steps = len(tensors[batch.index]) // batch.shape[0]
    step, row = divmod(one.example.index[0], len(tensors[node.outputs[0]]) // steps)
    kept = [i for i in node.inputs if i in tensors]
    values = {i: np.split(tensors[i], steps)[step] for i in kept}
    index = (row, *one.example.index[1:])
    accumulator = accumulator_at(graph, profile, values, one.node, index)
    return replace(one, example=replace(one.example, accumulator=accumulator))


def _differs(broken: TensorComparison) -> tuple[Verdict, str]:
    """The verdict when a tensor is not what was promised, in words."""
    if broken.remark:
        return "differs", f"{_place(broken)} has {broken.remark}"
    count = f"{broken.differing:,} of {broken.elements:,} elements differ"
    return "differs", f"{_place(broken)} is promised exact, but {count}"


def _judge(
    outputs: Sequence[TensorComparison],
    profile: str,
    undefined: Sequence[Undefined],
    doubt: Mapping[Promise, str],
) -> tuple[Verdict, str]:
    """The verdict when no promise is broken, and why it is not "exact"."""
    if not outputs:
        return "unknown", "the graph has no outputs to compare"
    weakest: dict[Promise, TensorComparison] = {}
    for one in outputs:
        weakest.setdefault("unknown" if one.remark else one.promise, one)
    if "unknown" in weakest:
        one = weakest["unknown"]
        if one.promise == "unknown" and undefined:
            node = undefined[0]
            return (
                "unknown",
                f"{node.op} (node {node.node}, {short_name(node.tensor)!r}): {node.reason}",
            )
        return "unknown", f"{_place(one)} was not compared: {one.remark}"
    if "assumed" in weakest:
        differing = sum(one.differing or 0 for one in outputs if one.promise == "assumed")
        elements = sum(one.elements for one in outputs if one.promise == "assumed")
        at = doubt.get("assumed", _place(weakest["assumed"]))
        count = f"{differing:,} of {elements:,} output elements differ"
        return "assumed", f"profile {profile} assumes the arithmetic of {at}; {count}"
    if "float" in weakest:
        at = doubt.get("float", _place(weakest["float"]))
        return "float", f"float arithmetic is not promised bit for bit; it begins at {at}"
    return "exact", ""


def _place(one: TensorComparison) -> str:
    """Which tensor, in words."""
    node = "" if one.node is None else f" (node {one.node}, {one.op})"
    return f"tensor {short_name(one.name)!r}{node}"
