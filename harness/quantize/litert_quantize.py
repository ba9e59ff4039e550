"""Quantize a float ``.tflite`` with ai-edge-quantizer: min/max ranges, any of our recipes.

Everything here runs in an isolated process.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.extras import require_extra
from harness.quantize.trial import first_batch
from harness.recipe import Recipe
from harness.sources.npz import read_npz
from harness.target import Progress

Permutation = tuple[int, ...] | None
Ranges = dict[str, dict[str, npt.NDArray[Any]]]


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


def quantize(converted: FloatModel, recipe: Recipe, samples: Path, progress: Progress) -> bytes:
    """The quantized file's content.

    Args:
        samples: ``.npz`` with calibration samples, for recipes that need them.
    """
    require_extra("litert", "ai_edge_quantizer")
    from ai_edge_quantizer import quantizer

    progress("quantizing", 0, None)
    source, signature = _with_signature(converted.path.read_bytes())
    worker = quantizer.Quantizer(source, _library_recipe(recipe))
    ranges: Ranges | None = None
    if recipe.needs_calibration():
        batches = _batches(samples, converted, source, signature)
        for done, batch in enumerate(batches):
            progress("calibrating", done, len(batches))
            seen = worker.calibrate({signature: [batch]}, num_threads=os.cpu_count() or 1)
            ranges = seen if ranges is None else _widest(ranges, seen)
    progress("quantizing", 1, 1)
    return bytes(worker.quantize(ranges).quantized_model)


def _with_signature(content: bytes) -> tuple[bytearray, str]:
    """The model and its signature; one without gets one, for calibration goes by signatures."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    if signatures := Interpreter(model_content=content).get_signature_list():
        return bytearray(content), next(iter(signatures))
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    main = model.subgraphs[0]
    for side, prefix in (("inputs", "args_"), ("outputs", "output_")):
        mapped = []
        for index, tensor in enumerate(getattr(main, side)):
            mapping = schema.TensorMapT()
            mapping.name, mapping.tensorIndex = f"{prefix}{index}", int(tensor)
            mapped.append(mapping)
        setattr(signature, side, mapped)
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return builder.Output(), signature.signatureKey


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


def _batches(
    samples: Path, converted: FloatModel, source: bytearray, signature: str
) -> list[dict[str, npt.NDArray[Any]]]:
    """Calibration batches as the signature's named inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bytes(source))
    order = [detail["index"] for detail in interpreter.get_input_details()]
    details = interpreter.get_signature_runner(signature).get_input_details()
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
