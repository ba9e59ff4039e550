"""Run an artifact once on this host: a lowering is not trusted until its product has run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Artifact, Manifest, TensorSpec, from_device, to_device
from harness.emulator.formats.model_file import read_model
from harness.emulator.sized_by_data import explain
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.on_device.slices import invocations
from harness.sources.npz import read_npz
from harness.target import RunOnHost

Array = npt.NDArray[Any]

REFERENCE = "reference.npz"
"""Beside an artifact: outputs ``out0, …`` for the first batch, computed before lowering."""

_LEAST_COSINE = 0.9


def run_once(run: RunOnHost, artifact: Artifact, samples: Path, _progress: Progress) -> None:
    """Run the first batch of `samples` and check shapes and dtypes. Isolated only: it may crash.

    Args:
        run: of the target, see `harness.target.Target.trial`.
        artifact: what was lowered.
        samples: as ``in0, in1, …``, in the model's own layout.

    Raises:
        ModelError: the runtime refuses the model, or the outputs are not those of the manifest.
    """
    manifest = artifact.manifest
    inputs = next(batches_for(manifest.inputs, read_npz(samples)))
    outputs = run(artifact.path, inputs)
    _check_outputs(artifact, outputs)
    reference = artifact.path.parent / REFERENCE
    if reference.exists():
        _check_values(manifest, outputs, read_npz(reference))


def samples_for(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> tuple[Array, ...]:
    """Stored samples ``in0, in1, …`` as what takes `specs` takes them."""
    return tuple(to_device(spec, arrays[f"in{index}"]) for index, spec in enumerate(specs))


def batches_for(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> Iterator[list[Array]]:
    """The same, one invocation's after the other."""
    return invocations(specs, samples_for(specs, arrays))


def run_litert(path: Path, inputs: list[Array]) -> list[Array]:
    """One invocation with the default (XNNPACK) kernels. Isolated only."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    for detail, x in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def run_executorch(path: Path, inputs: list[Array]) -> list[Array]:
    """One invocation of ``forward``. Isolated only."""
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return [output.numpy() for output in method.execute([torch.from_numpy(x) for x in inputs])]


def _check_outputs(artifact: Artifact, outputs: list[Array]) -> None:
    manifest = artifact.manifest
    got = [(tuple(x.shape), x.dtype.name) for x in outputs]
    expected = [(spec.shape, spec.dtype) for spec in manifest.outputs]
    if got != expected:
        why = explain(read_model(artifact.path).main)
        difference = f"the outputs are {got}, the manifest says {expected}"
        raise ModelError(f"{_name(manifest)}: {why or difference}")


def _name(manifest: Manifest) -> str:
    return f"{manifest.model}, recipe {manifest.recipe or '(none)'} for {manifest.target}"


def _check_values(manifest: Manifest, outputs: list[Array], reference: dict[str, Array]) -> None:
    """Refuse a program that is wrong, not one that rounds differently."""
    for index, (spec, x_q) in enumerate(zip(manifest.outputs, outputs, strict=True)):
        x = from_device(spec, x_q).astype(np.float64).ravel()
        y = reference[f"out{index}"].astype(np.float64).ravel()
        norms = float(np.linalg.norm(x) * np.linalg.norm(y))
        cosine = float(x @ y) / norms if norms else 1.0
        if cosine < _LEAST_COSINE:
            raise ModelError(
                f"{_name(manifest)}: output {spec.name} is not what the graph gave before "
                f"lowering: cosine {cosine:.3f}, at least {_LEAST_COSINE} expected"
            )
