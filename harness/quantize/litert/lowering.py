"""Lower to LiteRT: litert-torch converts to a float ``.tflite``, litert-quantizer quantizes it.

The float file is cached by the model's content and shared by all recipes. Everything here runs in
an isolated process.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifact import (
    Artifact,
    Finding,
    Manifest,
    Origin,
    TensorSpec,
    manifest_beside,
    save_manifest,
)
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph
from harness.errors import ModelError
from harness.host.cache import Cache, content_key
from harness.host.extras import require_extra
from harness.host.progress import Progress
from harness.model import Model
from harness.quantize.described import described
from harness.quantize.finite import refuse_undefined_weights
from harness.quantize.inspect_lowered import inspect_file
from harness.quantize.layers import op_of_litert
from harness.quantize.litert.identity import layer_paths
from harness.quantize.litert.quantizing import FloatModel, quantize, read_specs
from harness.quantize.litert.reached import layers_of, path_of
from harness.quantize.litert.rewriting import convertible
from harness.quantize.plan import Changes, changes_of, plan_of
from harness.quantize.reached import with_reached
from harness.quantize.tools import own_sources, tool_versions
from harness.recipe import Recipe
from harness.sources.models import load_float32, parse_model
from harness.target import LoweringRequest

_NHWC = (0, 2, 3, 1)


def lower_litert(request: LoweringRequest, progress: Progress) -> Artifact:
    """Make a ``.tflite``; one that came quantized passes through as it is.

    Raises:
        ModelError: the model cannot be converted, or the recipe cannot be applied to it.
    """
    path = request.folder / "model.tflite"
    if request.recipe is None:
        source = Path(request.model.resolved)
        shutil.copyfile(source, path)
        return _finish(request, _as_it_came(source), path)
    findings: tuple[Finding, ...] = ()
    changes = changes_of(plan_of(request), progress)
    converted = float_model(request.model, Cache(request.cache), progress, changes)
    recipe = replace(request.recipe, rules=changes.rules)
    request = replace(request, recipe=recipe)
    if recipe.mode == "float" and not recipe.rules:
        shutil.copyfile(converted.path, path)
    else:
        what = request.model.reference
        content, findings = quantize(converted, recipe, request.calibration, what, progress)
        path.write_bytes(content)
    return _finish(request, converted, path, findings)


def float_model(
    model: Model, cache: Cache, progress: Progress, changes: Changes | None = None
) -> FloatModel:
    """The float ``.tflite`` of a model, from the cache if it was converted before.

    Args:
        changes: what a recipe's steps made of its parameters; None for the submitted ones.
    """
    if model.resolved.endswith(".tflite"):
        return _as_it_came(Path(model.resolved))
    changes = changes or Changes()
    key = content_key(
        {
            "model": model.sha256,
            "tools": tool_versions(),
            "source": own_sources(),
            "changes": changes.key,
        }
    )
    entry = cache.entry("float", key)
    if not entry.is_dir():
        with cache.fill("float", key) as folder:
            _convert(model, folder, progress, changes)
    layout = json.loads((entry / "layout.json").read_text())
    inputs, outputs = (
        tuple(tuple(axes) if axes else None for axes in layout[side])
        for side in ("inputs", "outputs")
    )
    return FloatModel(entry / "model.tflite", inputs, outputs, layout["paths"])


def _as_it_came(path: Path) -> FloatModel:
    """A file that was submitted; the layout of one that edgefarm made is in its manifest."""
    own = manifest_beside(path)
    inputs, outputs = (own.inputs, own.outputs) if own else ((), ())
    return FloatModel(
        path, tuple(x.permutation for x in inputs), tuple(y.permutation for y in outputs)
    )


def _convert(model: Model, folder: Path, progress: Progress, changes: Changes) -> None:
    """Convert with 4-D float inputs and outputs channel-last, as LiteRT's kernels want them."""
    require_extra("litert", "litert_torch")
    progress("converting to LiteRT", 0, None)
    import litert_torch
    import torch

    module, examples = load_float32(parse_model(model.resolved))
    refuse_undefined_weights(module, model.reference)
    changes.put_into(module)
    with torch.no_grad():
        flat = module(*examples)
    submitted, module = module, convertible(module, examples)
    images = [index for index, x in enumerate(examples) if _is_image(x)]
    image_outputs = [index for index, x in enumerate(flat) if _is_image(x)]
    if images or image_outputs:
        module = litert_torch.to_channel_last_io(module, args=images, outputs=image_outputs)
    moved = tuple(
        x.permute(_NHWC).contiguous() if index in images else x for index, x in enumerate(examples)
    )
    path = folder / "model.tflite"
    litert_torch.convert(module, moved).export(str(path))
    layout = {
        "inputs": [_NHWC if index in images else None for index in range(len(examples))],
        "outputs": [_NHWC if index in image_outputs else None for index in range(len(flat))],
        "paths": _paths(path, submitted),
    }
    (folder / "layout.json").write_text(json.dumps(layout))


def _paths(path: Path, module: Any) -> dict[str, str]:  # noqa: ANN401  a torch module
    """See `layer_paths`; none where our reader does not take the file."""
    try:
        return layer_paths(read_model(path).main, module)
    except ModelError:
        return {}


def _is_image(x: Any) -> bool:  # noqa: ANN401  a torch tensor; torch is untyped here
    return bool(x.ndim == 4 and x.is_floating_point())


def _finish(
    request: LoweringRequest,
    converted: FloatModel,
    path: Path,
    findings: tuple[Finding, ...] = (),
) -> Artifact:
    """Write the manifest from the file itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    inputs = tuple(
        replace(spec, batched=taken.batched)
        for spec, taken in zip(
            read_specs(interpreter.get_input_details(), converted.inputs),
            request.model.inputs,
            strict=True,
        )
    )
    outputs = read_specs(interpreter.get_output_details(), converted.outputs)
    artifact = described(
        request,
        path,
        "litert",
        inputs,
        outputs,
        notes=_boundary_notes(request.recipe, (*inputs, *outputs)),
        findings=(*findings, *inspect_file(path)),
    )
    artifact = replace(artifact, manifest=_read_back(artifact, request.recipe, converted.paths))
    save_manifest(artifact)
    return artifact


def _read_back(artifact: Artifact, recipe: Recipe | None, paths: Mapping[str, str]) -> Manifest:
    """The manifest with the modules of tensors and what the recipe reached, where our reader takes
    the file."""
    try:
        graph = read_model(artifact.path).main
    except ModelError:
        return artifact.manifest
    manifest = replace(artifact.manifest, origins=_origins(graph, paths))
    if recipe is None or (recipe.mode == "float" and not recipe.rules):
        return manifest
    return with_reached(manifest, recipe, layers_of(graph, recipe, paths))


def _origins(graph: Graph, paths: Mapping[str, str]) -> dict[str, Origin]:
    return {
        graph.tensors[index].name: Origin(op_of_litert(node.op), path)
        for node in graph.nodes
        if (path := path_of(graph, node, paths))
        for index in node.outputs
    }


def _boundary_notes(recipe: Recipe | None, specs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """Say which inputs and outputs stayed float although the recipe makes all integer."""
    if recipe is None or recipe.mode != "static":
        return ()
    why = "the quantizer does not cover its op" + (", or a rule says so" if recipe.rules else "")
    return tuple(
        f"{spec.name} stayed {spec.dtype}: {why}"
        for spec in specs
        if np.dtype(spec.dtype).kind == "f"
    )
