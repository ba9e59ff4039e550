"""Scoring: which of a model's outputs is held against the labels, and how its values are read.

Known from shapes alone, so that labels which fit no output are refused before any work is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError
from harness.model import Model

Array = npt.NDArray[Any]

Reading = Literal["scores", "binary", "classes"]
"""How an output says which class it is: by the largest of several scores; by one score, high for
class 1; or by the class's number itself."""

_SHOWN = 8


@dataclass(frozen=True)
class OutputShape:
    """What is known of an output before it is computed.

    Attributes:
        shape: of one sample, without the first axis.
        real: its values are real: floats, or integers with a scale.
        name: of the output; "" where it has none.
    """

    shape: tuple[int, ...]
    real: bool = True
    name: str = ""

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart; None when it holds no class scores. Axes of length 1
        count for nothing; an integer without a scale may be the class itself: it tells any."""
        size = prod(self.shape)
        if size < 1 or max(self.shape, default=1) != size:
            return None
        return size if size > 1 else 2


@dataclass(frozen=True)
class Scored:
    """The output that is scored.

    Attributes:
        output: its index.
        reading: how its values are read.
        why: which it is, in words.
    """

    output: int
    reading: Reading
    why: str


def declared_outputs(model: Model) -> tuple[OutputShape, ...]:
    """The outputs of a model before it ran; one whose first axis is no batch has no scores."""
    batch = next((one.shape[0] for one in model.inputs if one.batched and one.shape), 1)
    return tuple(
        OutputShape(
            one.shape[1:] if one.shape[:1] == (batch,) else (0,),
            one.quantized or np.dtype(one.dtype).kind == "f",
            one.name,
        )
        for one in model.outputs
    )


def outputs_of(
    arrays: Sequence[Array], samples: int, names: Sequence[str] = ()
) -> tuple[OutputShape, ...]:
    """The shapes of computed outputs; one whose first axis is not the sample has no scores."""
    known = [*names, *[""] * (len(arrays) - len(names))]
    return tuple(
        OutputShape(x.shape[1:], x.dtype.kind == "f", name)
        if x.ndim and len(x) == samples
        else OutputShape((0,), name=name)
        for x, name in zip(arrays, known, strict=True)
    )


def scored_output(
    outputs: Sequence[OutputShape], labels: Array | None, samples: int
) -> Scored | None:
    """Which output is held against the labels: the one with the fewest classes that has all of
    them, real ones before integers, the first of equals. Without labels, the first that has several
    scores a sample; None when none does.

    Args:
        outputs: of the model, in order.
        labels: class of each sample; None without.
        samples: how many there are.

    Raises:
        UsageError: no output can be held against the labels.
    """
    if labels is None:
        found = [i for i, one in enumerate(outputs) if (one.classes or 0) and prod(one.shape) > 1]
        if not found:
            return None
        one = outputs[found[0]]
        return Scored(
            found[0], "scores", _said(found[0], outputs, f"{one.classes} scores a sample")
        )
    classes = _classes_needed(labels, samples)
    fitting = [
        (not one.real, one.classes, index, _reading(one))
        for index, one in enumerate(outputs)
        if one.classes is not None and (one.classes >= classes or _reading(one) == "classes")
    ]
    if not fitting:
        raise UsageError(_no_output_for(labels, outputs))
    _, count, index, reading = min(fitting)
    equals = sum(each[:2] == min(fitting)[:2] for each in fitting)
    what = {
        "scores": f"{count} classes",
        "binary": "one score for class 1",
        "classes": "the class's number",
    }[reading]
    first = f", the first of {equals} that fit the labels" if equals > 1 else ""
    return Scored(index, reading, _said(index, outputs, f"{what}{first}"))


def threshold(reference: Array) -> tuple[float, str]:
    """Above which value a single score means class 1, and why: 0.5 where all values of the
    reference are probabilities, else 0."""
    finite = reference[np.isfinite(reference)]
    if finite.size and finite.min() >= 0 and finite.max() <= 1:
        return 0.5, "above 0.5, because all values are from 0 to 1"
    return 0.0, "above 0, because not all values are from 0 to 1"


def _reading(one: OutputShape) -> Reading:
    if prod(one.shape) > 1:
        return "scores"
    return "binary" if one.real else "classes"


def _classes_needed(labels: Array, samples: int) -> int:
    """The highest label and one; the labels are checked."""
    if labels.ndim > 1 and labels[0].size != 1:
        raise UsageError(
            f"labels: shape {labels.shape}, so {labels[0].size} for each sample; only one class a "
            f"sample is scored: give shape ({samples},), or leave them out and score the outputs "
            "yourself"
        )
    if labels.size != samples or labels.dtype.kind not in "iu":
        raise UsageError(
            f"labels: {labels.dtype} of shape {labels.shape}; "
            f"expected integers, one for each of {samples} samples"
        )
    if labels.size and labels.min() < 0:
        sample = int(labels.argmin())
        raise UsageError(f"labels: class {labels.reshape(-1)[sample]} of sample {sample} is < 0")
    return int(labels.max(initial=0)) + 1


def _no_output_for(labels: Array, outputs: Sequence[OutputShape]) -> str:
    highest, sample = int(labels.max()), int(labels.argmax())
    shapes = ", ".join(f"(n, {', '.join(map(str, one.shape))})" for one in outputs[:_SHOWN])
    counts = sorted({one.classes for one in outputs if one.classes is not None})
    said = f"labels: class {highest} of sample {sample} "
    if counts:
        many = " or ".join(map(str, counts))
        said += f"is outside the model's {many} classes (0 to {counts[-1] - 1})"
    else:
        said += "can be held against no output"
    return (
        f"{said}; its outputs have the shapes {shapes or '(none)'}. Scored are outputs of shape "
        "(n, classes), and of one score a sample for labels 0 and 1: correct the labels, or leave "
        "them out"
    )


def _said(index: int, outputs: Sequence[OutputShape], what: str) -> str:
    if len(outputs) == 1:
        return f"the output: {what}"
    name = f", {outputs[index].name!r}" if outputs[index].name else ""
    return f"output {index} of {len(outputs)}{name}: {what}"
