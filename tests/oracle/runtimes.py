"""The runtimes as judges: a batch of models in one subprocess, since a model may kill it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]
Kernels = Literal["reference", "builtin", "xnnpack", "tflm"]

_WORKER = Path(__file__).with_name("_worker.py")
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Request:
    """One model with its inputs, in the order of the file.

    Attributes:
        all_tensors: read every tensor; under XNNPACK the file is rewritten so that each is an
            output.
    """

    model: bytes
    inputs: tuple[Array, ...]
    kernels: Kernels
    all_tensors: bool = True
    threads: int = 1


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        tensors: by index in the file; constants included where the runtime shows them.
        delegated: partitions that XNNPACK took.
        error: why there is nothing: the runtime's exception, or "died: …".
    """

    tensors: dict[int, Array] = field(default_factory=dict)
    delegated: int = 0
    error: str = ""


def run_all(requests: Sequence[Request], argv: Sequence[str] = (sys.executable,)) -> list[Answer]:
    """Run every request; a request that kills the process costs only itself.

    Args:
        requests: what to run.
        argv: the Python to run them with, e.g. an aarch64 one under QEMU.
    """
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        folder = Path(name)
        _write(folder, requests)
        first = 0
        while first < len(requests):
            done = subprocess.run(
                [*argv, str(_WORKER), str(folder), str(first)],
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            if done.returncode == 0:
                break
            stderr = done.stderr.decode(errors="replace")[-2000:]
            if not (folder / "started").exists():
                raise RuntimeError(f"the worker did not start: {stderr}")
            first = int((folder / "started").read_text())
            (folder / f"{first}.error.txt").write_text(f"died: {done.returncode}: {stderr}")
            first += 1
        return [_read(folder, number) for number in range(len(requests))]


def run(model: bytes, inputs: Sequence[Array], kernels: Kernels) -> Answer:
    """Run one model, all tensors."""
    return run_all([Request(model, tuple(inputs), kernels)])[0]


def _write(folder: Path, requests: Sequence[Request]) -> None:
    jobs = []
    for number, request in enumerate(requests):
        preserve = request.all_tensors and request.kernels in ("reference", "builtin")
        model, outputs = _outputs(request.model, expose=request.all_tensors and not preserve)
        (folder / f"{number}.tflite").write_bytes(model)
        inputs: dict[str, Any] = {f"in{slot}": x for slot, x in enumerate(request.inputs)}
        np.savez(folder / f"{number}.in.npz", **inputs)
        jobs.append(
            {
                "kernels": request.kernels,
                "preserve": preserve,
                "outputs": outputs,
                "threads": request.threads,
            }
        )
    (folder / "jobs.json").write_text(json.dumps(jobs))


def _outputs(model: bytes, *, expose: bool) -> tuple[bytes, list[int]]:
    """The file's outputs; with `expose` a new file of which everything that a node makes is one."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = tree.subgraphs[0]
    outputs = [int(index) for index in graph.outputs]
    if not expose:
        return model, outputs
    for op in graph.operators:
        outputs += [int(index) for index in op.outputs if index not in outputs]
    graph.outputs = np.array(outputs, np.int32)
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    return bytes(packer.Output()), outputs


def _read(folder: Path, number: int) -> Answer:
    error = folder / f"{number}.error.txt"
    if error.exists():
        return Answer(error=error.read_text())
    with np.load(folder / f"{number}.out.npz") as stored:
        tensors = {int(key[1:]): stored[key] for key in stored.files if key.startswith("t")}
        delegated = int(stored["delegated"]) if "delegated" in stored.files else 0
    return Answer(tensors, delegated)
