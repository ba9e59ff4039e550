"""Which axes are batches, and samples in the one form that all data sets have.

In that form the first axis of every input counts samples: (n, …) where the input's first axis is
the batch. An input that is no batch (a table of positions, a scalar), and one that was given whole
although it is one, has an axis before its own shape: (1, *shape) for all samples, or (n, *shape)
for each its own.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import TensorSpec
from harness.errors import UsageError
from harness.model import Model, ModelInput

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def find_batch(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """The batch of a model, from the shapes of its inputs and outputs; None when it has none.

    It is the first axis that most inputs and outputs share. Where no output has an input's first
    axis, it is 1 if an input has that, or what all inputs have when the outputs are scalars.
    """
    firsts = [shape[0] for shape in inputs if shape]
    given = [shape[0] for shape in outputs if shape]
    shared = [size for size in firsts if size in given]
    if shared:
        counts = Counter(firsts + given)
        return max(shared, key=lambda size: counts[size])
    if 1 in firsts:
        return 1
    return firsts[0] if len(set(firsts)) == 1 and not given else None


def sample_count(inputs: Sequence[Array]) -> int:
    """Samples in arrays of the form above."""
    return max((len(x) for x in inputs), default=0)


def take_samples(
    inputs: Sequence[Array], chosen: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]
) -> tuple[Array, ...]:
    """Some of the samples; an input for all samples stays."""
    return tuple(x if len(x) == 1 else x[chosen] for x in inputs)


def fits(x: Array, wanted: ModelInput) -> bool:
    """Whether an array as a user gives it can be samples of an input, or the input whole."""
    if x.ndim == len(wanted.shape) and x.shape[1:] == wanted.shape[1:]:
        return x.ndim > 0 or not wanted.batched
    return not wanted.batched and x.shape[1:] == wanted.shape


def arrange(
    arrays: Sequence[Array], inputs: Sequence[ModelInput], where: str
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """Arrays that fit, as a user gives them, in the form above; and notes on what was decided.

    An input that is no batch is given whole, of its own shape; or, where the model takes one sample
    at a time, once for each sample: with one more axis, or joined along its first. An input
    that is a batch is given whole when it has exactly its own shape and others have more samples.

    Raises:
        UsageError: the inputs hold different numbers of samples, or none.
    """
    batch = next((wanted.shape[0] for wanted in inputs if wanted.batched), 1)
    formed = [
        x if wanted.batched else _whole(x, wanted, f"{where}: in{index}")
        for index, (x, wanted) in enumerate(zip(arrays, inputs, strict=True))
    ]
    own = [
        x.shape == wanted.shape if wanted.batched else len(x) == 1
        for x, wanted in zip(formed, inputs, strict=True)
    ]
    counts = [len(x) for x, exact in zip(formed, own, strict=True) if not exact]
    if not counts:
        counts = [batch if any(wanted.batched for wanted in inputs) else 1]
    count = counts[0]
    if len(set(counts)) > 1 or not count:
        raise UsageError(
            f"{where}: numbers of samples are {', '.join(str(len(x)) for x in arrays)}; "
            "expected the same for every input, at least 1"
        )
    notes = []
    for index, (wanted, exact) in enumerate(zip(inputs, own, strict=True)):
        if wanted.batched and exact and count != len(formed[index]):
            formed[index] = formed[index][np.newaxis]
        elif wanted.batched:
            continue
        elif not exact and batch != 1:
            raise UsageError(
                f"{where}: in{index} has shape {arrays[index].shape}; the model takes {batch} "
                f"samples at once and this input once for all of them: give it as {wanted.shape}"
            )
        name = f"in{index}" + (f" ({wanted.name})" if wanted.name else "")
        how = "one for all samples" if len(formed[index]) == 1 else "one for each sample"
        notes.append(f"{name} of shape {wanted.shape} is given whole, {how}: it is no batch")
    return tuple(formed), tuple(notes)


def _whole(x: Array, wanted: ModelInput, where: str) -> Array:
    """An input that is no batch, with an axis before its own."""
    if x.ndim == len(wanted.shape) + 1 and wanted.shape:
        return x
    if not wanted.shape:
        return x.reshape(-1)
    if len(x) % wanted.shape[0] or not len(x):
        raise UsageError(
            f"{where}: has {len(x)} rows, the model takes {wanted.shape[0]} at once; "
            "allowed: a multiple of that"
        )
    return x.reshape(-1, *wanted.shape)


def model_specs(model: Model) -> tuple[TensorSpec, ...]:
    """The model's own inputs as those of an artifact: for `to_device` and `on_device.slices`."""
    return tuple(
        TensorSpec(x.name or f"in{index}", x.shape, x.dtype, batched=x.batched)
        for index, x in enumerate(model.inputs)
    )
