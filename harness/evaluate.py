"""The straight way: model and data in, one immutable Run out.

The command line, the farm's worker and the pytest plugin all call `evaluate`; there is no second
way.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Artifact, from_device, to_device
from harness.device import NO_DEVICE, Connect, Transport
from harness.emulated import Emulators
from harness.errors import (
    HarnessError,
    ModelError,
    UsageError,
)
from harness.host.cache import Cache, arrays_key, default_cache
from harness.host.disk import host_full
from harness.host.progress import Progress, no_progress
from harness.judge.accuracy import accuracy_of
from harness.judge.cost import quantization_cost
from harness.judge.exactness import Emulated, compare_with_emulator
from harness.judge.observed import (
    observed_inputs,
    observed_inside,
    observed_outputs,
)
from harness.judge.suspicion import look_at_outputs, look_inside
from harness.on_device.deploy import NONE, QUICK, choose_runner, run_job
from harness.on_device.latency import latency_from
from harness.on_device.read_facts import read_facts
from harness.on_device.readiness import throttling, wait_until_ready
from harness.on_device.slices import take_slices
from harness.prepare import Prepared, compiler_for, prepared
from harness.quantize.placing import check
from harness.quantize.plan import Plan, as_rescaled
from harness.quantize.reference import float_layers, float_outputs, float_tensors
from harness.recipe import Recipe
from harness.recording import Recording
from harness.records import Latency, QuantizationCost, Run
from harness.request import Request
from harness.sources.batches import take_samples
from harness.sources.npz import store_samples

Array = npt.NDArray[Any]


def evaluate(
    request: Request,
    connect: Connect,
    *,
    cache: Cache | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Quantize, deploy, run, emulate, compare and judge.

    Whatever ends it, the Run holds what was known by then; only the caller's own mistakes raise.

    Args:
        request: what to evaluate.
        connect: opens a transport to a device (`farm.transports.connect`).
        cache: of lowered models; the user's own by default.
        progress: told what is being done.

    Raises:
        UsageError: a reference, recipe or option is wrong; nothing was run.
    """
    record = Recording(request)
    try:
        _walk(record, request, connect, cache or default_cache(), progress)
    except (HarnessError, OSError) as error:
        blamed = host_full(error) or error
        if isinstance(blamed, UsageError) or not isinstance(blamed, HarnessError):
            raise
        return record.ended_by(blamed)
    return record.judged(request.limits)


def prepare(
    request: Request, *, cache: Cache | None = None, progress: Progress = no_progress
) -> None:
    """What `evaluate` does before it needs the device, into the cache, so that none waits for it.

    Raises:
        UsageError, ModelError: as `evaluate` would end.
    """
    kept = cache or default_cache()
    ready = prepared(request, cache=kept, progress=progress)
    float_outputs(ready.model, ready.samples.evaluation, cache=kept, progress=progress)


def run_ended_by(request: Request, error: HarnessError) -> Run:
    """The Run of a request that an error ended before anything of it was done."""
    return Recording(request).ended_by(error)


def _walk(
    record: Recording, request: Request, connect: Connect, cache: Cache, progress: Progress
) -> None:
    """The straight way itself, top to bottom."""
    ready = prepared(request, cache=cache, when_opened=record.opened, progress=progress)
    model, samples, target, soc = ready.model, ready.samples, request.target, request.soc
    artifact = ready.artifact
    record.add(manifest=artifact.manifest)
    record.note(*artifact.manifest.notes)
    record.see(*artifact.manifest.findings)
    placement = artifact.manifest.placement
    if placement is None:
        placement = check(target, ready.lowered.path, soc, progress=progress)
    record.add(placement=placement)
    specs = artifact.manifest.inputs
    inputs = [to_device(spec, x) for spec, x in zip(specs, samples.evaluation, strict=True)]

    if request.device != NO_DEVICE and target.compile and artifact.manifest.placement is None:
        raise UsageError(f"{target.name}: nothing to run there: {artifact.manifest.notes[-1]}")
    if request.device == NO_DEVICE:
        compiler = compiler_for(target, cache, progress)
        emulators = Emulators(target, ready.lowered, inputs, compiler, progress)
        outputs, emulated = _emulate_only(record, emulators, soc)
    else:
        with connect(request.device) as transport:
            record.add(facts=wait_until_ready(transport, progress=progress))
            outputs, emulated = _run_and_compare(
                record, request, transport, artifact, inputs, progress=progress
            )
        record.add(host_latency=_host_latency(record, request, connect, artifact, inputs))

    in_float = float_outputs(model, samples.evaluation, cache=cache, progress=progress)
    inner = _inner_in_float(ready, request.recipe, emulated, cache=cache, progress=progress)
    real_outputs = _real(artifact, outputs)
    record.add(
        accuracy=accuracy_of(
            real_outputs,
            record.run.samples,
            labels=samples.labels,
            in_float=in_float,
            names=[one.name for one in model.outputs],
        ),
        cost=_cost(artifact, emulated, outputs, in_float, inner),
    )
    defaults = request.limits.defaults
    manifest = artifact.manifest
    observed = observed_outputs(manifest, real_outputs, in_float, emulated)
    record.see(*look_at_outputs(observed, samples.evaluation, defaults))
    inputs_seen = observed_inputs(manifest, samples.evaluation)
    inside = observed_inside(manifest, emulated, inner)
    record.see(*look_inside([*inputs_seen, *inside], defaults))


def _inner_in_float(
    ready: Prepared,
    recipe: Recipe | None,
    emulated: Emulated,
    *,
    cache: Cache,
    progress: Progress,
) -> Mapping[str, Array]:
    """The float model's tensors on the traced samples: from what the artifact's own runtime was
    given, and as the recipe's steps rescaled it."""
    model, samples, artifact = ready.model, ready.samples, ready.artifact
    ranges = emulated.exactness.traced_samples
    if not emulated.tensors or not ranges:
        return {}
    chosen = np.concatenate([np.arange(start, stop) for start, stop in ranges])
    traced = take_samples(samples.evaluation, chosen)
    changed = as_rescaled(recipe)
    plan = None
    if changed is not None:
        plan = Plan(model, changed, store_samples(samples.calibration, cache), cache.root)
    if artifact.manifest.runtime == "litert":
        return float_tensors(model, traced, rescaled=plan, cache=cache, progress=progress)
    return float_layers(
        model,
        traced,
        artifact.manifest.origins,
        emulated.tensors,
        rescaled=plan,
        cache=cache,
        progress=progress,
    )


def _emulate_only(
    record: Recording, emulators: Emulators, soc: str | None
) -> tuple[tuple[Array, ...], Emulated]:
    """Without a device: what the emulator computes stands in for its outputs."""
    done = emulators.run(soc)
    emulated = done.emulated
    record.note(*done.facts)
    record.add(
        emulated_by=done.by,
        exactness=emulated.exactness,
        distances=done.distances,
        emulator_ns=_per_sample(emulated, record.run.samples),
    )
    outputs = tuple(x for x in emulated.outputs if x is not None)
    if len(outputs) < len(emulated.outputs):
        raise ModelError(f"{done.by}: an op of the model has no definition: nothing to judge")
    return outputs, emulated


def _run_and_compare(
    record: Recording,
    request: Request,
    transport: Transport,
    artifact: Artifact,
    inputs: Sequence[Array],
    *,
    progress: Progress,
) -> tuple[tuple[Array, ...], Emulated]:
    """Run on the device and hold what it gave against the emulator, over one connection."""
    run = partial(
        run_job,
        transport,
        choose_runner(transport, request.target, request.runner),
        kernels=request.kernels,
        threads=request.threads,
        cpus=request.device.policy.cpus,
        progress=progress,
    )
    on_device = run(artifact, inputs, request.measure)
    results = on_device.results
    throttled = _throttled(record, transport)
    record.add(results=results, latency=latency_from(results, request.device, throttled=throttled))
    record.add(outputs_sha256=arrays_key(on_device.outputs))
    record.note(*on_device.notes, *filter(None, (throttled,)))
    emulated = compare_with_emulator(
        artifact,
        request.target.profile(request.device, results[0]),
        inputs,
        on_device.outputs,
        lambda exposed, batch: run(exposed, batch, NONE).outputs,
        threads=request.threads,
        progress=progress,
    )
    record.add(exactness=emulated.exactness, emulator_ns=_per_sample(emulated, record.run.samples))
    return on_device.outputs, emulated


def _throttled(record: Recording, transport: Transport) -> str:
    """Why the device did not have its full speed in the run that just ended, or ""."""
    before = record.run.facts
    if before is None or before.thermal_status is None:
        return ""
    return throttling(before, read_facts(transport))


def _real(artifact: Artifact, outputs: Sequence[Array]) -> list[Array]:
    specs = artifact.manifest.outputs
    return [from_device(spec, x) for spec, x in zip(specs, outputs, strict=True)]


def _per_sample(emulated: Emulated, samples: int) -> int | None:
    return None if emulated.elapsed_ns is None else emulated.elapsed_ns // max(1, samples)


def _cost(
    artifact: Artifact,
    emulated: Emulated,
    on_device: Sequence[Array],
    in_float: tuple[Array, ...] | None,
    tensors_in_float: Mapping[str, Array],
) -> QuantizationCost | None:
    """Emulator against float: outputs on all samples, other tensors on the traced batch.

    Where the emulator has no output, the device's stands in, and the record says so.
    """
    if in_float is None:
        return None
    known = [x for x in emulated.outputs if x is not None]
    complete = bool(known) and len(known) == len(emulated.outputs)
    outputs = _real(artifact, known if complete else on_device)
    names = [spec.name for spec in artifact.manifest.outputs]
    inner = [name for name in emulated.tensors if name in tensors_in_float and name not in names]
    origins = artifact.manifest.origins
    return quantization_cost(
        [*names, *(str(origins.get(name, name)) for name in inner)],
        [*outputs, *(emulated.tensors[name] for name in inner)],
        [*in_float, *(tensors_in_float[name] for name in inner)],
        of="float model" if complete else "float model, against the device (not emulated)",
    )


def _host_latency(
    record: Recording,
    request: Request,
    connect: Connect,
    artifact: Artifact,
    inputs: Sequence[Array],
) -> Latency | None:
    """Time of the same artifact on this host; None, with a note, where it does not run here."""
    if request.host is None or request.host.name == request.device.name:
        return None
    try:
        with connect(request.host) as transport:
            ran = run_job(
                transport,
                request.target.runner,
                artifact,
                take_slices(artifact.manifest.inputs, inputs, 0, 1),
                QUICK,
                kernels=request.kernels,
                threads=request.threads,
            )
    except HarnessError as error:
        record.note(f"the host's own time is missing: {error}")
        return None
    return latency_from(ran.results, request.host)
