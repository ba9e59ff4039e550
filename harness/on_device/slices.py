"""Samples to invocations and back.

A runtime takes and gives whole tensors. Here those of several invocations are joined along the
first axis: N invocations of a tensor of shape (B, …) are an array of shape (N * B, …), those of a
scalar (N,). So it is with every tensor, whether its first axis is a batch or not. An input that
holds one invocation only, where others hold more, is given whole with every one.
"""

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


def samples_at_once(specs: Sequence[TensorSpec]) -> int:
    """Samples that one invocation takes: the batch of the inputs that are batches; else one."""
    return next((batch_of(spec) for spec in specs if spec.batched and spec.shape), 1)


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
        counts[spec.name] = _slices(spec, x)
    several = set(counts.values()) - {1}
    if len(several) > 1 or 0 in several:
        raise UsageError(f"the inputs must hold as many samples, at least one: got {counts}")
    return several.pop() if several else 1


def _slices(spec: TensorSpec, x: Array) -> int:
    return -(-len(x) // max(1, batch_of(spec)))


def take_slices(
    specs: Sequence[TensorSpec], inputs: Sequence[Array], start: int, stop: int
) -> tuple[Array, ...]:
    """The samples of invocations `start` to `stop`; a partial batch is filled with copies of
    its last sample."""
    slices = count_slices(specs, inputs)
    taken = []
    for spec, x in zip(specs, inputs, strict=True):
        batch = batch_of(spec)
        if slices > 1 and len(x) == batch:  # given whole
            taken.append(np.tile(x, (stop - start, *(1,) * (x.ndim - 1))))
            continue
        part = x[start * batch : stop * batch]
        missing = (stop - start) * batch - len(part)
        taken.append(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]))
    return tuple(taken)


def invocations(
    specs: Sequence[TensorSpec], inputs: Sequence[Array], most: int | None = None
) -> Iterator[list[Array]]:
    """The inputs of each of the first `most` invocations, in exactly the shapes of `specs`."""
    slices = count_slices(specs, inputs)
    for number in range(slices if most is None else min(most, slices)):
        taken = take_slices(specs, inputs, number, number + 1)
        yield [x.reshape(spec.shape) for spec, x in zip(specs, taken, strict=True)]


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
    manifest: Manifest, parts: Sequence[Sequence[Array]], inputs: Sequence[Array]
) -> tuple[Array, ...]:
    """Concatenate the outputs of the chunks and drop those of samples that only filled a batch.

    Args:
        parts: of each chunk of invocations, its outputs.
        inputs: what all of them were made from.
    """
    joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return drop_filled(manifest.inputs, inputs, joined, manifest.outputs)


def drop_filled(
    specs: Sequence[TensorSpec],
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    output_specs: Sequence[TensorSpec],
) -> tuple[Array, ...]:
    """Outputs without those of the samples that only filled the last batch.

    An output whose first axis is not as long as the batch has none of them.
    """
    slices, batch, filled = count_slices(specs, inputs), 0, 0
    for spec, x in zip(specs, inputs, strict=True):
        if _slices(spec, x) == slices and slices * batch_of(spec) > len(x):
            batch, filled = batch_of(spec), slices * batch_of(spec) - len(x)
    return tuple(
        x[: len(x) - filled] if filled and spec.shape and batch_of(spec) == batch else x
        for spec, x in zip(output_specs, outputs, strict=True)
    )
