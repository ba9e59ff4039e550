"""The manifest of a lowered file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.artifact import Artifact, TensorSpec, describe
from harness.quantize.techniques import say_steps
from harness.quantize.tools import tool_versions
from harness.target import LoweringRequest


def described(
    request: LoweringRequest,
    path: Path,
    runtime: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    notes: tuple[str, ...] = (),
    **known: Any,  # noqa: ANN401  each attribute of Manifest has its own type
) -> Artifact:
    """What was lowered at a request, with a manifest that says by what and of what.

    Args:
        request: how it was lowered.
        path: the lowered file.
        runtime: the target's word for what runs it.
        inputs, outputs: of the file, in its order.
        notes: beside those on the model's outputs and on the recipe's steps.
        known: other attributes of `harness.artifact.Manifest`.
    """
    names = [spec.name for spec in outputs]
    artifact = describe(path, runtime, request.model.reference, inputs, outputs)
    manifest = replace(
        artifact.manifest,
        target=request.target,
        recipe=request.recipe.name if request.recipe else "",
        notes=(*request.model.say_outputs(names), *say_steps(request.recipe), *notes),
        **{"tool_versions": tool_versions(), **known},
    )
    return Artifact(path, manifest)
