"""Job folders as the host makes them, and runners started as programs."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.artifact import sha256_file
from harness.protocol import Job, Kernels, Result, parse_result
from tests.oracle.models import Model

RESOLVERS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


def make_job(folder: Path, model: Model, samples: int = 3, **fields: Any) -> Path:
    """A folder with job.json, the model and its inputs."""
    (folder / "out").mkdir(parents=True)
    (folder / "model.tflite").write_bytes(model.data)
    inputs = [model.sample(seed) for seed in range(samples)]
    names = []
    for slot in range(len(model.inputs)):
        names.append(f"in{slot}.npy")
        np.save(folder / names[-1], np.concatenate([sample[slot] for sample in inputs]))
    job = {
        "runtime": "litert",
        "artifact": "model.tflite",
        "sha256": sha256_file(folder / "model.tflite"),
        "inputs": names,
        **fields,
    }
    (folder / "job.json").write_text(Job.model_validate(job).model_dump_json())
    return folder


def run(argv: Sequence[str], folder: Path) -> Result:
    """Run a runner on a job, from elsewhere; its result must be there."""
    done = subprocess.run([*argv, str(folder)], capture_output=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr.decode()
    return parse_result((folder / "out/result.json").read_bytes(), device="here")


def failure(argv: Sequence[str], folder: Path) -> tuple[str, str]:
    """Kind and message of a job that must fail and leave nothing but its result."""
    result = run(argv, folder)
    assert result.failure is not None
    assert not result.outputs
    assert [path.name for path in (folder / "out").iterdir()] == ["result.json"]
    return result.failure.kind, result.failure.message


def outputs(folder: Path, result: Result) -> list[Any]:
    """The arrays that a result names."""
    assert result.failure is None, result.failure
    return [np.load(folder / "out" / name) for name in result.outputs]


def interpreter_says(model: Model, samples: int, kernels: Kernels) -> list[Any]:
    """The outputs by the interpreter, called here."""
    interpreter = Interpreter(
        model_content=model.data, experimental_op_resolver_type=RESOLVERS[kernels]
    )
    interpreter.allocate_tensors()
    rows = []
    for seed in range(samples):
        for detail, x in zip(interpreter.get_input_details(), model.sample(seed), strict=True):
            interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        rows.append(
            [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
        )
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]
