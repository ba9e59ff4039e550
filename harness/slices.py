"""Samples to invocations and back: slices of an artifact's batch, chunks of bounded size."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Manifest, TensorSpec
from harness.errors import UsageError

Array = npt.NDArray[Any]


def batch_of(spec: TensorSpec) -> int:
    """Entries of the first axis that one invocation takes or gives; a scalar counts as one."""
    return spec.shape[0] if spec.shape else 1


def count_slices(specs: Sequence[TensorSpec], inputs: Sequence[Array]) -> int:
    """How many invocations the inputs are; a last, partial batch counts as one.

    Raises:
        UsageError: number, shape or dtype are not the artifact's, or there is no sample.
    """
    if len(specs) != len(inputs):
        raise UsageError(f"the artifact takes {len(specs)} inputs, got {len(inputs)}")
    counts = {}
    for spec, x in zip(specs, inputs, strict=True):
        if x.dtype != np.dtype(spec.dtype) or x.ndim == 0 or x.shape[1:] != spec.shape[1:]:
            raise UsageError(
                f"input {spec.name!r}: takes {spec.dtype} samples of shape {spec.shape[1:]}, "
                f"got {x.dtype} of shape {x.shape}"
            )
        counts[spec.name] = -(-len(x) // batch_of(spec))
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise UsageError(f"the inputs must hold as many samples, at least one: got {counts}")
    return next(iter(counts.values()))


def take_slices(
    specs: Sequence[TensorSpec], inputs: Sequence[Array], start: int, stop: int
) -> tuple[Array, ...]:
    """The samples of invocations `start` to `stop`; a partial batch is filled with copies of
    its last sample."""
    taken = []
    for spec, x in zip(specs, inputs, strict=True):
        batch = batch_of(spec)
        part = x[start * batch : stop * batch]
        missing = (stop - start) * batch - len(part)
        taken.append(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]))
    return tuple(taken)


def output_shape(spec: TensorSpec, slices: int) -> tuple[int, ...]:
    """Shape of an output over that many invocations, concatenated on the first axis."""
    return (slices * batch_of(spec), *spec.shape[1:])


def chunks(manifest: Manifest, slices: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of invocations whose inputs and outputs stay below `chunk_bytes`, or are one."""
    tensors = (*manifest.inputs, *manifest.outputs)
    slice_bytes = sum(
        int(np.prod(output_shape(spec, 1))) * np.dtype(spec.dtype).itemsize for spec in tensors
    )
    step = max(1, chunk_bytes // max(1, slice_bytes))
    return ((start, min(start + step, slices)) for start in range(0, slices, step))


def join_outputs(
    manifest: Manifest, parts: Sequence[Sequence[Array]], samples: int
) -> tuple[Array, ...]:
    """Concatenate the outputs of the chunks and drop those of samples that only filled a batch."""
    batch = batch_of(manifest.inputs[0])
    return tuple(
        np.concatenate(arrays)[: samples if batch_of(spec) == batch else None]
        for spec, arrays in zip(manifest.outputs, zip(*parts, strict=True), strict=True)
    )
