"""The toy chip's compiler: whatever the network, the chip keeps the first values of its input."""

import hashlib
import math
from pathlib import Path

import numpy as np

from harness.artifact import Artifact, Manifest, Quantization, TensorSpec, save_manifest
from harness.emulator.formats.model_file import read_model
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.placement import Placement, PlacementReport
from harness.target import LoweringRequest

from .program import written


def lower_toy(request: LoweringRequest, progress: Progress) -> Artifact:
    """A program with the shapes of the network's only input and output."""
    model = request.model
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(f"{model.reference}: the toy chip takes one input and gives one output")
    [shape], [gives] = (x.shape for x in model.inputs), (y.shape for y in model.outputs)
    if len(gives) != 2 or shape[0] != 1 or math.prod(shape) < gives[1]:
        raise ModelError(f"{model.reference}: gives {gives}; the toy chip gives a part of {shape}")
    progress("compiling", 0, None)
    with np.load(request.calibration) as samples:
        scale = float(np.float32(np.abs(samples["in0"]).max() / 127 or 1))
    content = written(shape, gives[1], scale)
    quantization = Quantization(scale, 0)
    manifest = Manifest(
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        runtime="toy-runtime",
        target=request.target,
        recipe=request.recipe.name if request.recipe else "",
        model=model.reference,
        inputs=(TensorSpec("taken", shape, "int8", quantization),),
        outputs=(TensorSpec("positive", gives, "int8", quantization),),
        tool_versions={"toy-compiler": "1.0"},
    )
    artifact = Artifact(request.folder / "model.toy", manifest)
    artifact.path.write_bytes(content)
    save_manifest(artifact)
    return artifact


def check_toy(path: Path, _soc: str | None, _progress: Progress) -> PlacementReport:
    """Where the ops run; the program has to be one of the chip's."""
    graph = read_model(path).main
    return PlacementReport(
        tuple(
            Placement(
                node.index,
                node.op,
                graph.tensors[node.outputs[0]].name,
                "toy-core",
                "the chip has this op",
            )
            for node in graph.nodes
        )
    )
