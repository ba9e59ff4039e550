"""Artifacts for tests: a generated model on disk with its manifest."""

import hashlib
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from harness.artifact import Artifact, Manifest, TensorSpec, save_manifest


def write_artifact(folder: Path, data: bytes, *, runtime: str = "litert") -> Artifact:
    """Store a .tflite by its content; the manifest's tensors are those the interpreter reports."""
    interpreter = Interpreter(model_content=data)
    specs = [
        tuple(
            TensorSpec(
                detail["name"],
                tuple(int(n) for n in detail["shape"]),
                np.dtype(detail["dtype"]).name,
            )
            for detail in details
        )
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    ]
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{digest[:12]}.tflite"
    path.write_bytes(data)
    manifest = Manifest(
        digest, len(data), runtime, "host-litert", "static_wi8_ai8", "generated", *specs
    )
    artifact = Artifact(path, manifest)
    save_manifest(artifact)
    return artifact
