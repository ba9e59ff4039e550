"""Runs a batch of models in a fork of this process, and in another one when a model killed that.

argv: the folder of the batch. `jobs.json` lists the jobs; job k reads ``k.tflite`` and ``k.in.npz``
and writes ``out/k.npz`` (``t<call>.<index>`` for every tensor read, ``delegated``) or
``out/k.txt``, the error. Needs only numpy and a runtime, so that a board can run it.
"""

import json
import mmap
import os
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

_TFLM_ARENA_BYTES = 64 << 20


def _litert(job: dict[str, Any], model: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:  # an older board
        from tflite_runtime.interpreter import Interpreter, OpResolverType

    resolver = {
        "reference": OpResolverType.BUILTIN_REF,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "xnnpack": OpResolverType.AUTO,
    }[job["kernels"]]
    return Interpreter(
        model_content=model,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=job["preserve"],
        num_threads=job["threads"],
    )


def _run_litert(job: dict[str, Any], model: bytes, calls: list[Any]) -> dict[str, Any]:
    interpreter = _litert(job, model)
    results: dict[str, Any] = {}
    for number, inputs in enumerate(calls):
        slots = interpreter.get_input_details()
        resized = [tuple(slot["shape"]) != x.shape for slot, x in zip(slots, inputs, strict=True)]
        for slot, x in zip(slots, inputs, strict=True):
            if any(resized):
                interpreter.resize_tensor_input(slot["index"], x.shape)
        if any(resized) or number == 0:  # again, it would forget variables
            interpreter.allocate_tensors()
        for slot, x in zip(slots, inputs, strict=True):
            interpreter.set_tensor(slot["index"], x)
        interpreter.invoke()
        results |= _read(interpreter, number, inner=job["preserve"])
    ops = [op["op_name"] for op in interpreter._get_ops_details()]
    results["delegated"] = np.array(ops.count("DELEGATE"))
    return results


def _read(interpreter: Any, call: int, *, inner: bool) -> dict[str, Any]:
    tensors = interpreter.get_tensor_details() if inner else interpreter.get_output_details()
    results = {}
    for index in sorted({t["index"] for t in tensors}):
        try:
            results[f"t{call}.{index}"] = interpreter.get_tensor(index)
        except ValueError:  # a temporary without data
            continue
    return results


def _run_tflm(job: dict[str, Any], model: bytes, calls: list[Any]) -> dict[str, Any]:
    from tflite_micro.python.tflite_micro import runtime

    # The default, ten times the file, is too little for a single op.
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_TFLM_ARENA_BYTES)
    results = {}
    for number, inputs in enumerate(calls):
        for slot, x in enumerate(inputs):
            interpreter.set_input(x, slot)
        interpreter.invoke()
        for slot, index in enumerate(job["outputs"]):
            results[f"t{number}.{index}"] = interpreter.get_output(slot)
    return results


def _do(folder: Path, number: int, job: dict[str, Any]) -> None:
    stored = np.load(folder / f"{number}.in.npz")
    calls = [
        [stored[f"in{call}.{slot}"] for slot in range(n)] for call, n in enumerate(job["calls"])
    ]
    model = (folder / f"{number}.tflite").read_bytes()
    run = _run_tflm if job["kernels"] == "tflm" else _run_litert
    try:
        results = run(job, model, calls)
        np.savez(folder / f"out/{number}.npz", calls=np.array(len(calls)), **results)
    except Exception:
        (folder / f"out/{number}.txt").write_text(traceback.format_exc())


def main(folder: Path) -> None:
    jobs = json.loads((folder / "jobs.json").read_text())
    begun = mmap.mmap(-1, 4)  # shared with the forks: the number of the job being done
    first = 0
    while first < len(jobs):
        child = os.fork()
        if child == 0:
            for number in range(first, len(jobs)):
                begun[:] = struct.pack("<i", number)
                _do(folder, number, jobs[number])
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        (number,) = struct.unpack("<i", begun[:])
        reason = f"died: {os.waitstatus_to_exitcode(status)}"
        (folder / f"out/{number}.txt").write_text(reason)
        first = number + 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
