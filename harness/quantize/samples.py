"""Samples as torch modules take them. Isolated only."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from harness.model import Model
from harness.quantize.trial import batches_for
from harness.sources.batches import model_specs

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]


def model_batches(
    model: Model, arrays: Mapping[str, npt.NDArray[Any]], examples: "Tensors"
) -> "Iterator[Tensors]":
    """What each invocation of the model takes.

    Args:
        arrays: samples ``in0, in1, …`` in the form of `harness.sources.batches`.
        examples: of the module that takes them, whose types they get.
    """
    import torch

    for taken in batches_for(model_specs(model), arrays):
        yield tuple(
            torch.from_numpy(x.copy()).to(example.dtype)
            for x, example in zip(taken, examples, strict=True)
        )
