"""The on-device runner for devices that have Python: one file, obeying harness/protocol.py.

Run as ``python3 -I edgefarm_runner.py JOBDIR``. It needs Python 3.7, numpy and the runtime, nothing
of edgefarm. It reads ``job.json``, does the job and writes ``out/result.json`` last. Whatever it
can name becomes ``failure`` there, with exit status 0; only a crash or a kill leaves no result.

It is longer than other modules because it is pushed to devices by content, as one file: in parts it
would need a package there, and a version of each.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Sequence

try:
    import numpy as np
except ImportError:  # told as a failure of the job, like any other missing package
    np = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Json = dict[str, Any]

RUNNER = "python 1"
SCHEMA = 1
MAX_TIMED_RUNS = 10_000
CHUNK_BYTES = 1 << 20


class JobError(Exception):
    """A failure that the protocol has a name for."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# --- the machine: every probe answers None or nothing where the device does not tell -------------


def read_text(path: str | Path) -> str | None:
    """The stripped text of a file of /proc or /sys."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: str | Path) -> int | None:
    """The integer in a file of /sys."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def describe_cpu() -> Json:
    """Machine, CPU and its features, as uname and /proc/cpuinfo print them."""
    fields: dict[str, list[str]] = {}
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        fields.setdefault(key, []).append(value)
    makers, parts = fields.get("CPU implementer", []), fields.get("CPU part", [])
    cores = [f"{maker}/{part}" for maker, part in zip(makers, parts)]
    features = fields.get("flags") or fields.get("Features") or [""]
    return {
        "machine": os.uname().machine,
        "cpu": "+".join(dict.fromkeys(cores or fields.get("model name", []))),
        "cpu_features": features[0].split(),
    }


def machine_state() -> Json:
    """Governor, frequencies, temperatures and load at this moment."""
    cores = sorted(
        Path("/sys/devices/system/cpu").glob("cpu[0-9]*"), key=lambda core: int(core.name[3:])
    )
    frequencies = [read_int(core / "cpufreq/scaling_cur_freq") for core in cores]
    temperatures: dict[str, int] = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        value = read_int(zone / "temp")
        if value is not None:
            kind = read_text(zone / "type") or zone.name
            temperatures[f"{kind} {zone.name}" if kind in temperatures else kind] = value
    try:
        load: float | None = os.getloadavg()[0]
    except OSError:
        load = None
    return {
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "frequencies_khz": [value for value in frequencies if value is not None],
        "temperatures_millidegree": temperatures,
        "load_average": load,
    }


def peak_rss_bytes() -> int | None:
    """Peak resident memory of this process; getrusage would count its parent's before exec."""
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


# --- the runtimes: shapes, set_inputs, invoke, outputs -------------------------------------------


class LiteRt:
    """The LiteRT interpreter, from ai_edge_litert or the older tflite_runtime."""

    def __init__(self) -> None:
        errors = []
        for package in ("ai_edge_litert", "tflite_runtime"):
            try:
                self.module = __import__(package + ".interpreter", fromlist=["Interpreter"])
            except ImportError as error:
                errors.append(f"{package}: {error}")
            else:
                self.name, self.version = package, package_version(package)
                return
        raise JobError("runtime_missing", "; ".join(errors))

    def load(self, artifact: str, kernels: str, threads: int, delegate: Json | None = None) -> None:
        """Open the model with the kernels and the delegate asked for, ready to run."""
        options: Json = {"model_path": artifact, "num_threads": threads}
        if delegate is not None:
            options["experimental_delegates"] = [self.load_delegate(delegate)]
        if kernels != "xnnpack":
            wanted = {"builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
            resolver = getattr(self.module.OpResolverType, wanted[kernels])
            options["experimental_op_resolver_type"] = resolver
        self.interpreter = self.module.Interpreter(**options)
        self.interpreter.allocate_tensors()
        inputs = self.interpreter.get_input_details()
        self.inputs = [detail["index"] for detail in inputs]
        self.shapes = [tuple(int(n) for n in detail["shape"]) for detail in inputs]
        taken = self.delegated_nodes()
        self.delegated = None if taken is None else len(taken)

    def load_delegate(self, delegate: Json) -> object:
        """Load an accelerator's delegate from the device's own installation."""
        library = delegate["library"]
        try:
            return self.module.load_delegate(library, delegate["options"])
        except (OSError, ValueError, RuntimeError) as error:
            raise JobError("runtime_missing", f"delegate {library}: {error}") from error

    def set_inputs(self, arrays: Sequence[Array]) -> None:
        """Give one slice to every input."""
        for index, array in zip(self.inputs, arrays):
            self.interpreter.set_tensor(index, array)

    def invoke(self) -> None:
        """Run once."""
        self.interpreter.invoke()

    def outputs(self) -> list[Array]:
        """Copies of the outputs of the last run."""
        details = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(detail["index"]) for detail in details]

    def delegated_nodes(self) -> set[int] | None:
        """Which of the model's nodes a delegate took; None when the runtime does not tell.

        A delegate's node is appended to the list and replaces the nodes between its outputs and its
        inputs, which stay listed: they are found by walking back along the tensors.
        """
        try:
            ops = self.interpreter._get_ops_details()
        except (AttributeError, ValueError):
            return None
        original = [op for op in ops if op["op_name"] != "DELEGATE"]
        producer = {int(tensor): op for op in original for tensor in op["outputs"]}
        taken: set[int] = set()
        for delegate in (op for op in ops if op["op_name"] == "DELEGATE"):
            known = {int(tensor) for tensor in delegate["inputs"]}
            waiting = [int(tensor) for tensor in delegate["outputs"]]
            while waiting:
                tensor = waiting.pop()
                op = None if tensor in known else producer.get(tensor)
                if op is not None and op["index"] not in taken:
                    taken.add(op["index"])
                    waiting.extend(int(source) for source in op["inputs"])
        return taken


class ExecuTorch:
    """The ExecuTorch runtime of the executorch package."""

    delegated = None  # it does not tell

    def __init__(self) -> None:
        try:
            import torch

            # Not `portable_lib` around it: that imports the exporter too, four seconds on a desk.
            from executorch.extension import pybindings

            try:
                self.library = import_module(f"{pybindings.__name__}._C")
            except ImportError:  # before 1.5
                self.library = import_module(f"{pybindings.__name__}._portable_lib")
        except ImportError as error:
            raise JobError("runtime_missing", f"executorch: {error}") from error
        self.torch = torch
        self.name, self.version = "executorch", package_version("executorch")

    def load(
        self, artifact: str, _kernels: str, threads: int, _delegate: Json | None = None
    ) -> None:
        """Open the program's ``forward``, ready to run."""
        self.library._unsafe_reset_threadpool(threads)
        self.program = self.library._load_program(artifact)
        self.method = self.program.load_method("forward")
        meta = self.method.method_meta()
        self.shapes = [tuple(meta.input_tensor_meta(i).sizes()) for i in range(meta.num_inputs())]

    def set_inputs(self, arrays: Sequence[Array]) -> None:
        """Give one slice to every input."""
        self.held = [self.torch.from_numpy(array) for array in arrays]
        self.method.set_inputs(self.held)

    def invoke(self) -> None:
        """Run once."""
        self.method.execute()

    def outputs(self) -> list[Array]:
        """Copies of the outputs of the last run."""
        return [np.asarray(tensor) for tensor in self.method.get_outputs()]


def package_version(package: str) -> str:
    """Version of an installed package; "" where Python is too old to tell."""
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # Python 3.7
        return str(getattr(sys.modules[package], "__version__", ""))
    for name in (package.replace("_", "-"), package):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return str(getattr(sys.modules[package], "__version__", ""))


# --- the job -------------------------------------------------------------------------------------


def check_artifact(path: Path, sha256: str) -> None:
    """Refuse a file that is not the one that was pushed."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
                digest.update(chunk)
    except OSError as error:
        raise JobError("artifact", f"{path}: {error.strerror}") from error
    if digest.hexdigest() != sha256:
        message = f"{path}: sha256 is {digest.hexdigest()}, the job says {sha256}"
        raise JobError("artifact", message)


def count_slices(arrays: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> int:
    """How many invocations the inputs are, once they are known to fit the model."""
    if len(arrays) != len(shapes):
        raise JobError("model", f"the model has {len(shapes)} inputs, the job {len(arrays)}")
    counts = set()
    for number, (array, shape) in enumerate(zip(arrays, shapes)):
        batch = shape[0] if shape else 1
        if array.shape[1:] != shape[1:] or len(array) % batch:
            raise JobError("model", f"input {number}: takes {shape}, got {array.shape}")
        counts.add(len(array) // batch)
    if len(counts) != 1:
        raise JobError("model", f"the inputs hold different numbers of slices: {sorted(counts)}")
    return counts.pop()


def take_slice(
    arrays: Sequence[Array], shapes: Sequence[tuple[int, ...]], number: int
) -> list[Array]:
    """The inputs of one invocation; copies, for ExecuTorch keeps and may write the pointer."""
    taken = []
    for array, shape in zip(arrays, shapes):
        batch = shape[0] if shape else 1
        taken.append(np.array(array[number * batch : (number + 1) * batch]).reshape(shape))
    return taken


class OutputFile:
    """Writes one output slice by slice: nothing but the current slice is held in memory."""

    def __init__(self, path: Path, slices: int) -> None:
        self.path, self.slices = path, slices
        self.stream: BinaryIO | None = None
        self.first: Array | None = None

    def append(self, array: Array) -> None:
        """Add the output of one invocation."""
        array = np.ascontiguousarray(np.atleast_1d(array))
        if self.stream is None or self.first is None:
            self.stream, self.first = self.path.open("wb"), array
            header = np.lib.format.header_data_from_array_1_0(array)
            header["shape"] = (len(array) * self.slices, *array.shape[1:])
            np.lib.format.write_array_header_1_0(self.stream, header)
        if (array.shape, array.dtype) != (self.first.shape, self.first.dtype):
            message = (
                f"an output changed its shape: {self.first.shape}, then {array.shape}: sizes that "
                "depend on the data cannot be joined over invocations"
            )
            raise JobError("model", message)
        # Not ndarray.tofile: its error does not say that the disk is full.
        self.stream.write(array.tobytes())

    def close(self) -> None:
        """Flush; the disk may turn out to be full only now."""
        if self.stream is not None:
            self.stream.close()


def write_outputs(
    runtime: LiteRt | ExecuTorch, arrays: Sequence[Array], slices: int, folder: Path
) -> list[str]:
    """Run every slice and write ``out0.npy, …``; returns the file names."""
    files: list[OutputFile] = []
    try:
        for number in range(slices):
            runtime.set_inputs(take_slice(arrays, runtime.shapes, number))
            runtime.invoke()
            outputs = runtime.outputs()
            while len(files) < len(outputs):
                files.append(OutputFile(folder / f"out{len(files)}.npy", slices))
            for file, array in zip(files, outputs):
                file.append(array)
    finally:
        for file in files:
            file.close()
    return [file.path.name for file in files]


def measure(runtime: LiteRt | ExecuTorch, arrays: Sequence[Array], job: Json) -> Json:
    """Warm up and time the invocation alone, on the first slice; raw samples in ns.

    The inputs are set again before every invocation, as an application does: ExecuTorch plans other
    tensors into their memory, so that a second invocation would run on what the first left there.
    """
    warmup: list[int] = []
    samples: list[int] = []
    spent, least = 0, job["min_time_s"] * 1e9
    before = machine_state()
    for _ in range(job["warmup_runs"]):
        warmup.append(timed(runtime, arrays))
    while len(samples) < job["timed_runs"] or spent < least:
        samples.append(timed(runtime, arrays))
        spent += samples[-1]
        if len(samples) >= max(job["timed_runs"], MAX_TIMED_RUNS):
            break
    state = {"before": before, "after": machine_state()}
    return dict(state, warmup_ns=warmup, latency_ns=samples)


def timed(runtime: LiteRt | ExecuTorch, arrays: Sequence[Array]) -> int:
    """Nanoseconds of one invocation; setting its inputs is not part of them."""
    runtime.set_inputs(take_slice(arrays, runtime.shapes, 0))
    start = time.perf_counter_ns()
    runtime.invoke()
    return time.perf_counter_ns() - start


def do_job(folder: Path, job: Json, result: Json) -> None:
    """Do the job, filling `result` as far as it comes."""
    if np is None:
        raise JobError("runtime_missing", f"{sys.executable} has no numpy")
    result["kernels"] = job["kernels"] if job["runtime"] == "litert" else None
    artifact = folder / job["artifact"]
    check_artifact(artifact, job["sha256"])
    runtime: LiteRt | ExecuTorch = LiteRt() if job["runtime"] == "litert" else ExecuTorch()
    result.update(runtime=runtime.name, runtime_version=runtime.version)
    arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in job["inputs"]]
    try:
        start = time.perf_counter_ns()
        delegate = job.get("delegate")
        runtime.load(str(artifact), job["kernels"], job["threads"], delegate)
        result.update(load_ns=time.perf_counter_ns() - start, delegated=runtime.delegated)
        result["delegate"] = delegate["library"] if delegate else None
        slices = count_slices(arrays, runtime.shapes)
        if job["outputs"]:
            result["outputs"] = write_outputs(runtime, arrays, slices, folder / "out")
        result.update(measure(runtime, arrays, job))
    except (RuntimeError, ValueError, TypeError) as error:
        raise JobError("model", f"{runtime.name} {runtime.version}: {error}") from error
    finally:
        result["peak_rss_bytes"] = peak_rss_bytes()


def name_failure(error: BaseException) -> Json:
    """The protocol's kind and one line for what went wrong."""
    if isinstance(error, JobError):
        kind, message = error.kind, str(error)
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind, message = "disk_full", str(error)
    else:
        kind, message = "internal", f"{type(error).__name__}: {error}"
    return {"kind": kind, "message": " ".join(message.split())}


def write_result(folder: Path, result: Json) -> None:
    """Write ``result.json`` so that it is either absent or whole."""
    partial = folder / "result.json.part"
    partial.write_text(json.dumps(result), encoding="utf-8")
    partial.replace(folder / "result.json")


def main(folder: Path) -> None:
    """Do the job in a folder; see harness/protocol.py."""
    result: Json = {"schema": SCHEMA, "runner": RUNNER}
    result.update(describe_cpu())
    out = folder / "out"
    try:
        do_job(folder, json.loads((folder / "job.json").read_text(encoding="utf-8")), result)
    except Exception as error:
        result["failure"], result["outputs"] = name_failure(error), []
        for path in out.glob("out*.npy"):  # room for result.json on a full disk
            path.unlink()
    write_result(out, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
