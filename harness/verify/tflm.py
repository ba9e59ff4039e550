"""The TensorFlow Lite Micro interpreter as a judge, in a process of its own: it may crash."""

from collections.abc import Sequence
from importlib.metadata import version
from math import prod
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from harness.artifact import Artifact, Manifest
from harness.emulator.graph import Array
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from harness.host.extras import require_extra
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.on_device.slices import count_slices, take_slices
from harness.protocol import Result
from harness.verify.verification import VerifyReport, verify_with

PROFILE = "tflm"

_LEAST_ARENA_BYTES = 16 << 20
_SCRATCH = 16
"""Most bytes of working memory for each byte of a computed tensor."""
_OTHER_MEMORY_BYTES = 2 << 30


def verify_tflm(
    path: Path,
    *,
    seeds: Sequence[int] = range(5),
    timeout_s: float = 600.0,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Hold every node of a `.tflite` file against profile `tflm`, judged by TFLM's interpreter.

    Args:
        path: the file; untrusted.
        seeds: one random input for each; extreme inputs are added.
        timeout_s: limit for the interpreter.
        progress: told about invocations and emulated nodes.

    Raises:
        UsageError: the interpreter is not installed.
        ModelError: the file is broken, or the interpreter refuses it or dies of it.
    """
    require_extra("tflm", "tflite_micro")

    def run(artifact: Artifact, inputs: Sequence[Array]) -> tuple[Result, Sequence[Array]]:
        if artifact.manifest.runtime != "litert":
            raise ModelError(f"{path}: TensorFlow Lite Micro runs .tflite files only")
        if _has_constants_behind(artifact.path.read_bytes()):
            raise ModelError(
                f"{path}: its large constants lie behind the flatbuffer, where TensorFlow Lite "
                "Micro does not look: it would compute with zeros; store them in the flatbuffer"
            )
        outputs = run_isolated(
            _interpret,
            artifact.path,
            artifact.manifest,
            tuple(inputs),
            what=f"{path}: TensorFlow Lite Micro",
            timeout_s=timeout_s,
            memory_limit_bytes=_arena_bytes(artifact.manifest) + _OTHER_MEMORY_BYTES,
            progress=progress,
        )
        result = Result(runtime="tflite_micro", runtime_version=version("tflite-micro"))
        return result, outputs

    return verify_with(
        path,
        run,
        lambda _: get_profile(PROFILE),
        device="this host",
        seeds=seeds,
        progress=progress,
    )


def _has_constants_behind(content: bytes) -> bool:
    """Whether a buffer's data are appended to the file; litert-quantizer does that above 1 kB."""
    root = schema.Model.GetRootAs(content, 0)
    buffers = (root.Buffers(number) for number in range(root.BuffersLength()))
    return any(buffer.Offset() > 1 and not buffer.DataLength() for buffer in buffers)


def _arena_bytes(manifest: Manifest) -> int:
    """Working memory that is enough when every computed tensor is an output."""
    specs = (*manifest.inputs, *manifest.outputs)
    computed = sum(prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)
    return _SCRATCH * computed + 4 * manifest.bytes + _LEAST_ARENA_BYTES


def _interpret(
    path: Path, manifest: Manifest, inputs: tuple[Array, ...], progress: Progress
) -> tuple[Array, ...]:
    """Every output over all invocations, joined along the first axis."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(
        path.read_bytes(), arena_size=_arena_bytes(manifest)
    )
    slices = count_slices(manifest.inputs, inputs)
    collected: list[list[Array]] = [[] for _ in manifest.outputs]
    for number in range(slices):
        progress("run", number, slices)
        taken = take_slices(manifest.inputs, inputs, number, number + 1)
        for slot, (spec, x) in enumerate(zip(manifest.inputs, taken, strict=True)):
            interpreter.set_input(x.reshape(spec.shape), slot)
        interpreter.invoke()
        for slot, parts in enumerate(collected):
            parts.append(np.atleast_1d(np.array(interpreter.get_output(slot))))
    progress("run", slices, slices)
    return tuple(np.concatenate(parts) for parts in collected)
