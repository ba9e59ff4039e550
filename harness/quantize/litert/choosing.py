"""Ranges that a recipe's step chooses, in what litert-quantizer calibrated. Isolated only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.quantize.histograms import BINS, Choose, counted, worth_choosing
from harness.quantize.litert.ranges import Ranges
from harness.quantize.technique import Histogram
from harness.recipe import Recipe


def levels_of(recipe: Recipe) -> int:
    """See `Histogram`."""
    return int(2 ** (recipe.activation_bits or 8)) - 1


def choose_ranges(
    ranges: Ranges,
    source: bytes,
    batches: Sequence[Mapping[int, npt.NDArray[Any]]],
    choose: Choose,
    levels: int,
) -> None:
    """Replace least and greatest value of each float activation by the range that is chosen.

    Args:
        source: the float file.
        batches: what its input tensors take, by tensor index.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=source,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    made = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    spans = {}
    for detail in interpreter.get_tensor_details():
        seen = ranges.get(detail["name"])
        if detail["index"] not in {*inputs, *made} or not seen or detail["dtype"] != np.float32:
            continue
        low, high = float(np.min(seen["min"])), float(np.max(seen["max"]))
        if worth_choosing(low, high):
            spans[detail["name"]] = (int(detail["index"]), low, high)
    counts = {name: np.zeros(BINS, np.int64) for name in spans}
    each: dict[str, list[tuple[float, float]]] = {name: [] for name in spans}
    for batch in batches:
        for index, x in batch.items():
            interpreter.set_tensor(index, x)
        interpreter.invoke()
        for name, (index, low, high) in spans.items():
            x = interpreter.get_tensor(index)
            counts[name] += counted(x, low, high)
            each[name].append((float(x.min()), float(x.max())))
    for name, (_, low, high) in spans.items():
        chosen = choose(Histogram(low, high, counts[name], levels, tuple(each[name])))
        for bound, value in zip(("min", "max"), chosen, strict=True):
            ranges[name][bound] = np.full_like(ranges[name][bound], value)
