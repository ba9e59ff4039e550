"""The toy chip's runner: a small program that obeys the runner protocol, with nothing of edgefarm.

Run as ``python3 runner.py JOBDIR``.
"""

import hashlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MARK = b"TOYCHIP1"


def invoke(program: dict[str, Any], x: Any) -> list[Any]:
    """One invocation: what the program keeps of its input."""
    flat = x.reshape(1, -1)
    kept = flat[:, : program["keep"]]
    positive = np.maximum(kept, np.int8(0))
    return [flat, kept, positive] if program["every"] else [positive]


def _timed(program: dict[str, Any], x: Any) -> int:
    start = time.perf_counter_ns()
    invoke(program, x)
    return max(1, time.perf_counter_ns() - start)


def _done(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    content = (folder / job["artifact"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != job["sha256"]:
        return {"failure": {"kind": "artifact", "message": "another sha256"}}
    if job["runtime"] != "toy-runtime" or not content.startswith(MARK):
        return {"failure": {"kind": "model", "message": "no program of the toy chip"}}
    program = json.loads(content[len(MARK) :])
    x = np.load(folder / job["inputs"][0])
    one = program["shape"][0]
    calls = [x[at : at + one] for at in range(0, len(x), one)]
    names = []
    if job["outputs"]:
        for number, parts in enumerate(
            zip(*(invoke(program, call) for call in calls), strict=True)
        ):
            names.append(f"out{number}.npy")
            np.save(folder / "out" / names[-1], np.concatenate(parts))
    warmup = [_timed(program, calls[0]) for _ in range(job["warmup_runs"])]
    times: list[int] = []
    while len(times) < job["timed_runs"] or sum(times) < job["min_time_s"] * 1e9:
        if len(times) >= max(job["timed_runs"], 10_000):
            break
        times.append(_timed(program, calls[0]))
    return {"outputs": names, "warmup_ns": warmup, "latency_ns": times, "load_ns": 1}


def main(folder: Path) -> None:
    """Do the job of a folder."""
    result = {
        "schema": 1,
        "runner": "toy 1",
        "runtime": "toy-runtime",
        "runtime_version": "1.0",
        "machine": platform.machine(),
    }
    result.update(_done(folder, json.loads((folder / "job.json").read_text())))
    (folder / "out" / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
