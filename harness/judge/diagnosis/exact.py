"""What the artifact itself makes of samples: by an emulator's integers, else by its runtime."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Artifact, from_device, to_device
from harness.emulator.formats.model_file import read_model
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress
from harness.judge.exactness import emulate_samples
from harness.judge.traced import take_these
from harness.on_device.slices import drop_filled, invocations
from harness.target import RunOnHost, Target

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[Any]

_TIMEOUT_S = 3600.0


def exact_outputs(
    target: Target,
    artifact: Artifact,
    samples: Sequence[Array],
    chosen: Sequence[int],
    *,
    soc: str | None,
    progress: Progress,
) -> tuple[tuple[Array, ...] | None, str]:
    """Outputs in the model's own layout, and by what; None, and why, where nothing computes them.

    Args:
        artifact: as it was lowered.
        samples: in the model's own layout.
        chosen: which invocations of them, joined along the first axis.
    """
    specs = artifact.manifest.inputs
    inputs = [to_device(spec, x) for spec, x in zip(specs, samples, strict=True)]
    some = take_these(specs, inputs, chosen)
    name = target.profile_without_device(soc)
    vendors = target.vendor is not None and name is not None and target.vendor.has(name)
    try:
        if name is not None and not vendors:
            made, by = _emulated(artifact, some, name, progress), name
        elif target.trial is not None:
            made, by = _run(target.trial, artifact, some, progress), "its runtime on this host"
        else:
            return None, f"nothing on this host computes it for {target.name}"
    except ModelError as error:
        return None, str(error)
    outputs = zip(artifact.manifest.outputs, made, strict=True)
    return tuple(from_device(spec, x) for spec, x in outputs), by


def _emulated(
    artifact: Artifact, inputs: tuple[Array, ...], profile: str, progress: Progress
) -> list[Array]:
    graph = read_model(artifact.path).main
    made = emulate_samples(artifact, graph, get_profile(profile), inputs, progress)
    known = [x for x in made.outputs if x is not None]
    if len(known) < len(made.outputs):
        raise ModelError(f"{profile} does not know all of its ops")
    return known


def _run(
    trial: RunOnHost, artifact: Artifact, inputs: tuple[Array, ...], progress: Progress
) -> list[Array]:
    specs = artifact.manifest.inputs
    batches = list(invocations(specs, inputs))
    made: list[list[Array]] = run_isolated(
        run_all,
        trial,
        artifact.path,
        batches,
        what=f"{artifact.manifest.model}: running it on this host",
        timeout_s=_TIMEOUT_S,
        progress=progress,
    )
    joined = [np.concatenate([np.atleast_1d(x) for x in one]) for one in zip(*made, strict=True)]
    return list(drop_filled(specs, inputs, joined, artifact.manifest.outputs))


def run_all(
    trial: RunOnHost, path: "Path", batches: list[list[Array]], progress: Progress
) -> list[list[Array]]:
    """The outputs of each invocation. Isolated only: the runtime may crash."""
    made = []
    for done, batch in enumerate(batches):
        progress("running the artifact", done, len(batches))
        made.append(trial(path, batch))
    return made
