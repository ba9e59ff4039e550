"""Quantize a float ``.tflite`` with litert-quantizer: min/max ranges, any of our recipes.

Everything here runs in an isolated process.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Finding, Quantization, TensorSpec
from harness.host.extras import require_extra
from harness.host.progress import Progress
from harness.quantize.histograms import chooser
from harness.quantize.litert.choosing import choose_ranges, levels_of
from harness.quantize.litert.mask_floors import Floors
from harness.quantize.litert.mending import mend
from harness.quantize.litert.ranges import (
    Ranges,
    begin_at_floors,
    clipped,
    dead_findings,
    float_graph,
    make_masks_finite,
    mask_floors,
    refuse_undefined,
    widen_dead,
    widen_narrow,
)
from harness.quantize.litert.ruling import library_recipe
from harness.quantize.trial import batches_for
from harness.recipe import Recipe
from harness.sources.npz import read_npz

_MOST_ROUNDS = 4

Permutation = tuple[int, ...] | None
Batch = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class FloatModel:
    """A float ``.tflite`` and how its layout differs from the model's own.

    Attributes:
        path: the file.
        inputs, outputs: permutation of each, see `TensorSpec`.
        paths: of the modules in it, see `harness.quantize.litert.reached.path_of`.
    """

    path: Path
    inputs: tuple[Permutation, ...]
    outputs: tuple[Permutation, ...]
    paths: Mapping[str, str] = field(default_factory=dict)


def quantize(
    converted: FloatModel, recipe: Recipe, samples: Path, what: str, progress: Progress
) -> tuple[bytes, tuple[Finding, ...]]:
    """The quantized file's content, and what of the float one it cannot hold.

    Args:
        samples: ``.npz`` with calibration samples, for recipes that need them.
        what: what to call the model in messages.
    """
    require_extra("litert", "litert_quantizer")
    from litert_quantizer import quantizer

    progress("quantizing", 0, None)
    source, signature = _with_signature(converted.path.read_bytes())
    graph = float_graph(bytes(source))
    rules = library_recipe(recipe, graph, converted.paths, what)
    if not recipe.needs_calibration():
        return bytes(quantizer.Quantizer(source, rules).quantize(None).quantized_model), ()
    batches = _batches(samples, converted, source, signature)
    ranges = _calibrate(source, rules, batches, signature, progress)
    floors = None
    if graph is not None:
        floors = mask_floors(graph, ranges, _by_tensor(batches, source, signature))
        if floors:
            make_masks_finite(source, floors)
            batches = _floored(batches, floors, source, signature)
            ranges = _calibrate(source, rules, batches, signature, progress)
    _choose(ranges, source, recipe, batches, signature)
    if graph is not None and floors:
        begin_at_floors(ranges, graph, floors)
    dead = widen_dead(ranges)
    progress("quantizing", 1, 1)
    made = b""
    for _ in range(_MOST_ROUNDS):
        made = bytes(quantizer.Quantizer(source, rules).quantize(ranges).quantized_model)
        made = made if graph is None else mend(made, graph)
        if not widen_narrow(ranges, made):
            break
    return made, (*dead_findings(dead), *clipped(source, made))


def _calibrate(
    source: bytearray,
    rules: list[dict[str, Any]],
    batches: list[Batch],
    signature: str,
    progress: Progress,
) -> Ranges:
    """Least and greatest value of each tensor on all batches."""
    from litert_quantizer import quantizer

    worker = quantizer.Quantizer(source, rules)
    ranges: Ranges = {}
    for done, batch in enumerate(batches):
        progress("calibrating", done, len(batches))
        seen = worker.calibrate({signature: [batch]}, num_threads=os.cpu_count() or 1)
        ranges = _widest(ranges, seen)
    refuse_undefined(ranges)
    return ranges


def _choose(
    ranges: Ranges, source: bytearray, recipe: Recipe, batches: list[Batch], signature: str
) -> None:
    """Replace what was seen by the ranges that a step of the recipe chooses, if it has one."""
    choose = chooser(recipe)
    if choose is not None:
        inputs = _input_tensors(source, signature)
        given = [{inputs[name]: x for name, x in batch.items()} for batch in batches]
        choose_ranges(ranges, bytes(source), given, choose, levels_of(recipe))


def _by_tensor(
    batches: list[Batch], source: bytearray, signature: str
) -> dict[int, npt.NDArray[Any]]:
    """All that each input was given, by tensor index."""
    return {
        tensor: np.concatenate([batch[name].ravel() for batch in batches])
        for name, tensor in _input_tensors(source, signature).items()
    }


def _floored(
    batches: list[Batch], floors: Floors, source: bytearray, signature: str
) -> list[Batch]:
    """The batches with the masks among the inputs made finite."""
    tensors = _input_tensors(source, signature)
    return [
        {
            name: floors.inputs[tensors[name]].applied(x) if tensors[name] in floors.inputs else x
            for name, x in batch.items()
        }
        for batch in batches
    ]


def _input_tensors(source: bytearray, signature: str) -> dict[str, int]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=bytes(source)).get_signature_runner(signature)
    return {name: int(detail["index"]) for name, detail in runner.get_input_details().items()}


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


def _batches(
    samples: Path, converted: FloatModel, source: bytearray, signature: str
) -> list[Batch]:
    """Calibration batches as the signature's named inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bytes(source))
    order = [detail["index"] for detail in interpreter.get_input_details()]
    details = interpreter.get_signature_runner(signature).get_input_details()
    names = {order.index(detail["index"]): name for name, detail in details.items()}
    specs = read_specs(interpreter.get_input_details(), converted.inputs)
    return [
        {names[index]: x for index, x in enumerate(taken)}
        for taken in batches_for(specs, read_npz(samples))
    ]


def read_specs(
    details: list[dict[str, Any]], permutations: tuple[Permutation, ...]
) -> tuple[TensorSpec, ...]:
    """Inputs or outputs of a file, from what LiteRT's interpreter says of them."""
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
