"""Lower to LiteRT: litert-torch converts to a float ``.tflite``, ai-edge-quantizer quantizes it.

The float file is cached by the model's content and shared by all recipes. Everything here runs in
an isolated process.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import (
    Artifact,
    Manifest,
    Quantization,
    TensorSpec,
    save_manifest,
    sha256_file,
)
from harness.cache import Cache, content_key
from harness.errors import ModelError
from harness.extras import require_extra
from harness.model import Model
from harness.quantize.tools import own_sources, tool_versions
from harness.quantize.trial import first_batch
from harness.recipe import Recipe
from harness.sources.models import load_module, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest, Progress

Permutation = tuple[int, ...] | None
Ranges = dict[str, dict[str, npt.NDArray[Any]]]

_SIGNATURE = "serving_default"
_NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class FloatModel:
    """A float ``.tflite`` and how its layout differs from the model's own.

    Attributes:
        path: the file.
        inputs, outputs: permutation of each, see `TensorSpec`.
    """

    path: Path
    inputs: tuple[Permutation, ...]
    outputs: tuple[Permutation, ...]


def lower_litert(request: LoweringRequest, progress: Progress) -> Artifact:
    """Make a ``.tflite``; one that came quantized passes through as it is.

    Raises:
        ModelError: the model cannot be converted, or the recipe cannot be applied to it.
    """
    path = request.folder / "model.tflite"
    if request.recipe is None:
        source = Path(request.model.resolved)
        shutil.copyfile(source, path)
        return _finish(request, FloatModel(source, (), ()), path)
    converted = float_model(request.model, Cache(request.cache), progress)
    if request.recipe.mode == "float":
        shutil.copyfile(converted.path, path)
    else:
        _quantize(request, request.recipe, converted, path, progress)
    return _finish(request, converted, path)


def float_model(model: Model, cache: Cache, progress: Progress) -> FloatModel:
    """The float ``.tflite`` of a model, from the cache if it was converted before."""
    if model.resolved.endswith(".tflite"):
        return FloatModel(Path(model.resolved), (), ())
    key = content_key({"model": model.sha256, "tools": tool_versions(), "source": own_sources()})
    entry = cache.entry("float", key)
    if not entry.is_dir():
        with cache.fill("float", key) as folder:
            _convert(model, folder, progress)
    layout = json.loads((entry / "layout.json").read_text())
    inputs, outputs = (
        tuple(tuple(axes) if axes else None for axes in layout[side])
        for side in ("inputs", "outputs")
    )
    return FloatModel(entry / "model.tflite", inputs, outputs)


def _convert(model: Model, folder: Path, progress: Progress) -> None:
    """Convert with 4-D float inputs and outputs channel-last, as LiteRT's kernels want them."""
    require_extra("litert", "litert_torch")
    progress("converting to LiteRT", 0, None)
    import litert_torch
    import torch

    module, examples = load_module(parse_model(model.resolved))
    with torch.no_grad():
        results = module(*examples)
    flat = results if isinstance(results, tuple | list) else (results,)
    if not all(isinstance(result, torch.Tensor) for result in flat):
        kinds = ", ".join(type(result).__name__ for result in flat)
        raise ModelError(f"{model.reference}: outputs must be tensors, got {kinds}")
    images = [index for index, x in enumerate(examples) if _is_image(x)]
    image_outputs = [index for index, x in enumerate(flat) if _is_image(x)]
    if images or image_outputs:
        module = litert_torch.to_channel_last_io(module, args=images, outputs=image_outputs)
    moved = tuple(
        x.permute(_NHWC).contiguous() if index in images else x for index, x in enumerate(examples)
    )
    litert_torch.convert(module, moved).export(str(folder / "model.tflite"))
    layout = {
        "inputs": [_NHWC if index in images else None for index in range(len(examples))],
        "outputs": [_NHWC if index in image_outputs else None for index in range(len(flat))],
    }
    (folder / "layout.json").write_text(json.dumps(layout))


def _is_image(x: Any) -> bool:  # noqa: ANN401  a torch tensor; torch is untyped here
    return bool(x.ndim == 4 and x.is_floating_point())


def _quantize(
    request: LoweringRequest,
    recipe: Recipe,
    converted: FloatModel,
    path: Path,
    progress: Progress,
) -> None:
    require_extra("litert", "ai_edge_quantizer")
    from ai_edge_quantizer import quantizer

    progress("quantizing", 0, None)
    worker = quantizer.Quantizer(str(converted.path), _library_recipe(recipe))
    ranges: Ranges | None = None
    if recipe.needs_calibration():
        batches = _batches(request.calibration, converted)
        for done, batch in enumerate(batches):
            progress("calibrating", done, len(batches))
            seen = worker.calibrate({_SIGNATURE: [batch]}, num_threads=os.cpu_count() or 1)
            ranges = seen if ranges is None else _widest(ranges, seen)
    progress("quantizing", 1, 1)
    worker.quantize(ranges).export_model(str(path))


def _widest(ranges: Ranges, seen: Ranges) -> Ranges:
    """Least minimum and greatest maximum of each tensor.

    The library's own way over several batches is a moving average (0.95), which depends on their
    order and cuts off what few batches show: 12 of 20 photos right in place of 18.
    """
    merged = dict(ranges)
    for name, new in seen.items():
        old = merged.get(name)
        merged[name] = (
            {"min": np.minimum(old["min"], new["min"]), "max": np.maximum(old["max"], new["max"])}
            if old and new
            else old or new
        )
    return merged


def _library_recipe(recipe: Recipe) -> list[dict[str, Any]]:
    """ai-edge-quantizer's recipe for ours, min/max ranges."""
    from ai_edge_quantizer import recipe as library

    base = {
        "dynamic": library.dynamic_wi8_afp32,
        "weight_only": library.weight_only_wi8_afp32,
        "static": library.static_wi8_ai16
        if recipe.activation_bits == 16
        else library.static_wi8_ai8,
    }[recipe.mode]
    rules: list[dict[str, Any]] = base()
    for rule in rules:
        weights = rule["op_config"]["weight_tensor_config"]
        weights["num_bits"] = recipe.weight_bits
        if recipe.weight_granularity == "tensor":
            weights["granularity"] = "TENSORWISE"
    return rules


def _batches(samples: Path, converted: FloatModel) -> list[dict[str, npt.NDArray[Any]]]:
    """Calibration batches as the signature's named inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(converted.path))
    order = [detail["index"] for detail in interpreter.get_input_details()]
    details = interpreter.get_signature_runner(_SIGNATURE).get_input_details()
    arrays = read_npz(samples)
    named = {
        name: _moved(arrays, converted, order.index(detail["index"]))
        for name, detail in details.items()
    }
    batch = int(next(iter(details.values()))["shape"][0])
    count = max(len(arrays["in0"]), batch)
    return [
        {name: first_batch(x[start:], batch) for name, x in named.items()}
        for start in range(0, count - batch + 1, batch)
    ]


def _moved(
    arrays: dict[str, npt.NDArray[Any]], converted: FloatModel, index: int
) -> npt.NDArray[Any]:
    x = arrays[f"in{index}"]
    permutation = converted.inputs[index] if converted.inputs else None
    return x if permutation is None else np.transpose(x, permutation)


def _finish(request: LoweringRequest, converted: FloatModel, path: Path) -> Artifact:
    """Write the manifest from the file itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    inputs = _specs(interpreter.get_input_details(), converted.inputs)
    outputs = _specs(interpreter.get_output_details(), converted.outputs)
    artifact = Artifact(
        path,
        Manifest(
            sha256=sha256_file(path),
            bytes=path.stat().st_size,
            runtime="litert",
            target=request.target,
            recipe=request.recipe.name if request.recipe else "",
            model=request.model.reference,
            inputs=inputs,
            outputs=outputs,
            tool_versions=tool_versions(),
            notes=_boundary_notes(request.recipe, (*inputs, *outputs)),
        ),
    )
    save_manifest(artifact)
    return artifact


def _specs(
    details: list[dict[str, Any]], permutations: tuple[Permutation, ...]
) -> tuple[TensorSpec, ...]:
    specs = []
    for index, detail in enumerate(details):
        scales = detail["quantization_parameters"]["scales"]
        zero_points = detail["quantization_parameters"]["zero_points"]
        specs.append(
            TensorSpec(
                name=detail["name"],
                shape=tuple(int(size) for size in detail["shape"]),
                dtype=np.dtype(detail["dtype"]).name,
                quantization=Quantization(float(scales[0]), int(zero_points[0]))
                if scales.size == 1
                else None,
                permutation=permutations[index] if permutations else None,
            )
        )
    return tuple(specs)


def _boundary_notes(recipe: Recipe | None, specs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """Say which inputs and outputs stayed float although the recipe makes all integer."""
    if recipe is None or recipe.mode != "static":
        return ()
    return tuple(
        f"{spec.name} stayed {spec.dtype}: the quantizer does not cover its op"
        for spec in specs
        if np.dtype(spec.dtype).kind == "f"
    )
