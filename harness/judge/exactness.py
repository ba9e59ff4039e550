"""Device against emulator, on one artifact: outputs on all samples, every tensor on some of them.

All tensors are compared on invocations spread over the whole set, as many as a bound on memory
allows. The first whose outputs differ is among them, so that a difference is always traced to the
op where it begins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.profile import ArithmeticProfile
from harness.artifact import Artifact, TensorSpec
from harness.emulator.all_tensors import expose
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.profiles import get_profile
from harness.emulator.profiles.threads import for_threads
from harness.errors import ModelError
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.judge.beyond import emulate_beyond, without_promise
from harness.judge.compare import compare
from harness.judge.traced import (
    bounds_of,
    constants_of,
    invocations_to_trace,
    real_tensors,
    samples_in,
    take_these,
)
from harness.on_device.slices import batch_of, count_slices, drop_filled, take_slices
from harness.records import Exactness, TensorComparison

Array = npt.NDArray[Any]

RunArtifact = Callable[[Artifact, Sequence[Array]], tuple[Array, ...]]
"""Runs an artifact on the device, untimed, and gives its outputs."""


@dataclass(frozen=True, eq=False)
class Emulated:
    """What the emulator computed.

    Attributes:
        exactness: the comparison with the device.
        outputs: over all samples; None where an op is unknown.
        traced: on which invocations all tensors are known, ascending.
        tensors: every tensor of those invocations, dequantized, joined, by name.
        bounds: lowest and highest real value of those that are quantized per tensor.
        constants: positions of the outputs that no input reaches.
        elapsed_ns: time for all samples; None when nothing was emulated.
    """

    exactness: Exactness
    outputs: tuple[Array | None, ...] = ()
    traced: tuple[int, ...] = ()
    tensors: Mapping[str, Array] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    constants: frozenset[int] = frozenset()
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
        run: used once more on the device, to see the tensors inside on some of the samples.
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
    differing = _first_difference(artifact.manifest.outputs, expected.outputs, outputs)
    slices = invocations_to_trace(graph, count_slices(specs, inputs), differing)
    some = take_these(specs, inputs, slices)
    kept, refusal = _tensors_inside(artifact, some, run)
    traced, taken = emulate_beyond(graph, profile, some, kept)
    on_some = without_promise(compare(graph, traced, kept, profile=profile), taken)
    beyond = on_some.reason if taken and on_some.verdict == "unknown" else ""
    samples = samples_in(specs, slices, inputs)

    return Emulated(
        _joined(over_all, on_some, traced, slices, samples, remark=beyond or refusal),
        expected.outputs,
        slices,
        real_tensors(graph, traced),
        bounds_of(graph),
        constants_of(graph),
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
    over_all: Exactness,
    on_some: Exactness,
    traced: Emulation,
    slices: Sequence[int],
    samples: tuple[tuple[int, int], ...],
    *,
    remark: str,
) -> Exactness:
    """Outputs over all samples, everything else from the traced ones; the worse verdict."""
    worse = on_some if on_some.verdict == "differs" else over_all
    rows = {i: len(x) // len(slices) for i, x in traced.tensors.items() if x.ndim}

    def placed(one: TensorComparison) -> TensorComparison:
        return _in_the_set(one, slices, rows)

    first = on_some.first_divergence
    return replace(
        over_all,
        verdict=worse.verdict,
        reason="; ".join(filter(None, (worse.reason, remark))),
        intermediates=tuple(map(placed, on_some.intermediates)),
        first_divergence=placed(first) if first else over_all.first_divergence,
        traced_samples=samples,
    )


def _in_the_set(
    one: TensorComparison, slices: Sequence[int], rows: Mapping[int, int]
) -> TensorComparison:
    """With the example's index counted over all invocations, not over the traced ones."""
    each = 0 if one.tensor is None else rows.get(one.tensor, 0)
    if one.example is None or not one.example.index or not each:
        return one
    first, *others = one.example.index
    number = slices[first // each] * each + first % each
    return replace(one, example=replace(one.example, index=(number, *others)))


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


def _first_difference(
    specs: Sequence[TensorSpec], expected: Sequence[Array | None], got: Sequence[Array]
) -> int | None:
    """The first invocation whose outputs differ; None when none does."""
    differing = [
        int(np.flatnonzero((x != y).reshape(len(x), -1).any(axis=1))[0]) // batch_of(spec)
        for spec, x, y in zip(specs, expected, got, strict=True)
        if x is not None and x.shape == y.shape and (x != y).any()
    ]
    return min(differing, default=None)
