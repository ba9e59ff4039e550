"""Device against emulator, on one artifact: all outputs on all samples, every tensor on one batch.

The batch on which all tensors are compared is the first whose outputs differ, so that a difference
is always traced to the op where it begins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.profile import ArithmeticProfile
from harness.artifact import Artifact, TensorSpec
from harness.compare import compare
from harness.emulator.graph import Graph, Tensor
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.model_file import read_model
from harness.emulator.profiles import get_profile
from harness.emulator.profiles.threads import for_threads
from harness.errors import ModelError
from harness.exposed import expose
from harness.records import Exactness
from harness.scratch import scratch_folder
from harness.slices import (
    batch_of,
    count_slices,
    drop_filled,
    samples_at_once,
    take_slices,
)
from harness.target import Progress, no_progress

Array = npt.NDArray[Any]

RunArtifact = Callable[[Artifact, Sequence[Array]], tuple[Array, ...]]
"""Runs an artifact on the device, untimed, and gives its outputs."""


@dataclass(frozen=True, eq=False)
class Emulated:
    """What the emulator computed.

    Attributes:
        exactness: the comparison with the device.
        outputs: over all samples; None where an op is unknown.
        start, stop: the samples of the traced batch.
        tensors: every tensor of the traced batch, dequantized, by name.
        elapsed_ns: time for all samples; None when nothing was emulated.
    """

    exactness: Exactness
    outputs: tuple[Array | None, ...] = ()
    start: int = 0
    stop: int = 0
    tensors: Mapping[str, Array] = field(default_factory=dict)
    elapsed_ns: int | None = None


def compare_with_emulator(
    artifact: Artifact,
    profile_name: str | None,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    run: RunArtifact,
    *,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Emulated:
    """Emulate an artifact and hold the device's outputs against it.

    The device has run it: where the emulator alone refuses it, the verdict is "unknown" with that
    reason.

    Args:
        artifact: what ran on the device.
        profile_name: the profile that stands for what ran; None when none does.
        inputs: what the device was given, all samples.
        outputs: what it gave back.
        run: used once more on the device, to see the intermediate tensors of one batch.
        threads: of the runtime on the device; the profile is taken for as many.
        progress: told about emulated samples.

    Raises:
        UsageError: there is no such profile.
        DeviceError: the second run on the device failed.
    """
    if profile_name is None:
        reason = "no emulator profile stands for what ran on the device"
        return Emulated(Exactness(None, "unknown", reason=reason))
    try:
        return _emulate_and_compare(
            artifact, profile_name, inputs, outputs, run, threads=threads, progress=progress
        )
    except ModelError as error:
        reason = f"the device ran the model, but the emulator refuses it: {error}"
        return Emulated(Exactness(profile_name, "unknown", reason=reason))


def _emulate_and_compare(
    artifact: Artifact,
    profile_name: str,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    run: RunArtifact,
    *,
    threads: int,
    progress: Progress,
) -> Emulated:
    """As above; a ModelError is the emulator's."""
    graph = read_model(artifact.path).main
    profile = for_threads(get_profile(profile_name), threads)
    expected = emulate_samples(artifact, graph, profile, inputs, progress)
    over_all = compare(graph, expected, _by_index(graph.outputs, outputs), profile=profile)

    specs = artifact.manifest.inputs
    number = _slice_to_trace(artifact.manifest.outputs, expected.outputs, outputs)
    batch = take_slices(specs, inputs, number, number + 1)
    start, stop = (one * samples_at_once(specs) for one in (number, number + 1))
    traced = emulate(graph, profile, batch, all_tensors=True)
    kept, refusal = _tensors_inside(artifact, batch, run)
    on_batch = compare(graph, traced, kept, profile=profile)

    return Emulated(
        _joined(over_all, on_batch, (start, stop), refusal),
        expected.outputs,
        start,
        stop,
        {graph.tensors[i].name: real(graph.tensors[i], x) for i, x in traced.tensors.items()},
        expected.elapsed_ns,
    )


def _tensors_inside(
    artifact: Artifact, batch: Sequence[Array], run: RunArtifact
) -> tuple[dict[int, Array], str]:
    """Every tensor on the device; or none, and why its exposed form does not run."""
    try:
        with scratch_folder() as folder:
            exposed = expose(artifact.path, folder)
            return _by_index(exposed.tensors, run(exposed.artifact, batch)), ""
    except ModelError as error:
        return {}, f"tensors inside were not compared: {error}"


def _joined(
    over_all: Exactness, on_batch: Exactness, traced: tuple[int, int], refusal: str
) -> Exactness:
    """Outputs over all samples, everything else from the traced batch; the worse verdict."""
    worse = on_batch if on_batch.verdict == "differs" else over_all
    return replace(
        over_all,
        verdict=worse.verdict,
        reason="; ".join(filter(None, (worse.reason, refusal))),
        intermediates=on_batch.intermediates,
        first_divergence=on_batch.first_divergence or over_all.first_divergence,
        traced_samples=traced,
    )


def _by_index(indices: Sequence[int], tensors: Sequence[Array]) -> dict[int, Array]:
    return dict(zip(indices, tensors, strict=True))


def emulate_samples(
    artifact: Artifact,
    graph: Graph,
    profile: ArithmeticProfile,
    inputs: Sequence[Array],
    progress: Progress,
) -> Emulation:
    """All samples; a last, partial batch is filled up and cut off as it is on the device."""
    specs = artifact.manifest.inputs
    whole = take_slices(specs, inputs, 0, count_slices(specs, inputs))
    emulation = emulate(graph, profile, whole, progress=progress)
    known = [x for x in emulation.outputs if x is not None]
    kept = [
        spec
        for spec, x in zip(artifact.manifest.outputs, emulation.outputs, strict=True)
        if x is not None
    ]
    cut = iter(drop_filled(specs, inputs, known, kept))
    outputs = tuple(x if x is None else next(cut) for x in emulation.outputs)
    return replace(emulation, outputs=outputs, tensors={})


def _slice_to_trace(
    specs: Sequence[TensorSpec], expected: Sequence[Array | None], got: Sequence[Array]
) -> int:
    """The first invocation that differs, else the first."""
    differing = [
        int(np.flatnonzero((x != y).reshape(len(x), -1).any(axis=1))[0]) // batch_of(spec)
        for spec, x, y in zip(specs, expected, got, strict=True)
        if x is not None and x.shape == y.shape and (x != y).any()
    ]
    return min(differing, default=0)


def real(tensor: Tensor, x: Array) -> Array:
    """Values of a tensor that is quantized per tensor, dequantized; others as they are."""
    quantization = tensor.quantization
    if quantization is None or len(quantization.scales) != 1:
        return x
    real: Array = (x.astype(np.float64) - quantization.zero_points[0]) * quantization.scales[0]
    return real
