"""The runtimes as judges: batches of models on this host or a device."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from harness.device import Transport

Array = npt.NDArray[Any]
Kernels = Literal["reference", "builtin", "xnnpack", "tflm"]

_WORKER = Path(__file__).with_name("_worker.py")
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Request:
    """One model with its inputs, in the order of the file.

    Attributes:
        all_tensors: read every tensor; under XNNPACK the file is rewritten so that each is an
            output.
        again: inputs of further calls, on the interpreter of the first.
    """

    model: bytes
    inputs: tuple[Array, ...]
    kernels: Kernels
    all_tensors: bool = True
    threads: int = 1
    again: tuple[tuple[Array, ...], ...] = ()

    @property
    def calls(self) -> tuple[tuple[Array, ...], ...]:
        """The inputs of each call."""
        return (self.inputs, *self.again)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        tensors: by index in the file; constants included where the runtime shows them.
        delegated: partitions that XNNPACK took.
        error: why there is nothing: the runtime's exception, or "died: …".
        again: as `tensors`, of the further calls.
    """

    tensors: dict[int, Array] = field(default_factory=dict)
    delegated: int = 0
    error: str = ""
    again: tuple[dict[int, Array], ...] = ()

    @property
    def calls(self) -> tuple[dict[int, Array], ...]:
        """The tensors of each call."""
        return (self.tensors, *self.again)


def run_all(requests: Sequence[Request]) -> list[Answer]:
    """Run every request on this host; one that kills its process costs only itself."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        folder = Path(name)
        _write(folder, requests)
        done = subprocess.run(
            [sys.executable, str(_WORKER), name],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the worker failed: {done.stderr[-2000:]}")
        return [_read(folder / "out", number) for number in range(len(requests))]


def run_on(transport: Transport, requests: Sequence[Request]) -> list[Answer]:
    """Run every request on a device that has Python and the runtime."""
    python = transport.device.python or "python3"
    remote = f"{transport.device.workdir}-oracle-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        folder = Path(name)
        _write(folder / "batch", requests)
        shutil.copy(_WORKER, folder / "batch/worker.py")
        archive = Path(shutil.make_archive(str(folder / "batch"), "gztar", folder / "batch"))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        try:
            transport.push(archive, f"{remote}.tar.gz", sha256=digest, timeout_s=_TIMEOUT_S)
            script = (
                'mkdir "$1" && tar -C "$1" -xzf "$1.tar.gz" && "$2" "$1/worker.py" "$1" '
                '&& tar -C "$1/out" -cf "$1/out.tar" . && cat "$1/out.tar"'
            )
            argv = ("sh", "-c", script, "sh", remote, python)
            done = transport.run(argv, timeout_s=_TIMEOUT_S, max_output_bytes=1 << 30)
        finally:
            transport.run(("rm", "-rf", remote, f"{remote}.tar.gz"), timeout_s=_TIMEOUT_S)
        if done.exit_status != 0:
            raise RuntimeError(f"the worker failed: {done.stderr[-2000:]!r}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as results:
            results.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4
            results.extractall(folder / "out")  # noqa: S202  what our own worker packed
        return [_read(folder / "out", number) for number in range(len(requests))]


def run(model: bytes, inputs: Sequence[Array], kernels: Kernels) -> Answer:
    """Run one model, all tensors."""
    return run_all([Request(model, tuple(inputs), kernels)])[0]


def _write(folder: Path, requests: Sequence[Request]) -> None:
    (folder / "out").mkdir(parents=True)
    jobs = []
    for number, request in enumerate(requests):
        preserve = request.all_tensors and request.kernels in ("reference", "builtin")
        model, outputs = _outputs(request.model, expose=request.all_tensors and not preserve)
        (folder / f"{number}.tflite").write_bytes(model)
        inputs: dict[str, Any] = {
            f"in{call}.{slot}": x
            for call, arrays in enumerate(request.calls)
            for slot, x in enumerate(arrays)
        }
        np.savez(folder / f"{number}.in.npz", **inputs)
        jobs.append(
            {
                "kernels": request.kernels,
                "preserve": preserve,
                "outputs": outputs,
                "threads": request.threads,
                "calls": [len(arrays) for arrays in request.calls],
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
    error = folder / f"{number}.txt"
    if error.exists():
        return Answer(error=error.read_text())
    with np.load(folder / f"{number}.npz") as stored:
        calls: list[dict[int, Array]] = [{} for _ in range(int(stored["calls"]))]
        for key in stored.files:
            if key.startswith("t"):
                call, _, index = key[1:].partition(".")
                calls[int(call)][int(index)] = stored[key]
        delegated = int(stored["delegated"]) if "delegated" in stored.files else 0
    return Answer(calls[0], delegated, again=tuple(calls[1:]))
