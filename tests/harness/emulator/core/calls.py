"""Single nodes as definitions and the core's bindings take them, and the two run side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.emulator import ops as _ops  # noqa: F401  importing it fills the table of definitions
from harness.emulator.core.bindings import bind
from harness.emulator.definitions import DEFINITIONS, Call
from harness.emulator.graph import Array, Node, Quantization, Tensor


def make_tensor(
    shape: tuple[int, ...],
    dtype: str,
    scales: npt.ArrayLike = 1.0,
    zero_point: int = 0,
    *,
    axis: int = 0,
    data: Array | None = None,
) -> Tensor:
    array = np.atleast_1d(np.asarray(scales, np.float32))
    zeros = np.full(array.shape, zero_point, np.int64)
    return Tensor(0, "t", shape, dtype, Quantization(array, zeros, axis), data)


def make_call(
    op: str,
    semantics: str,
    inputs: tuple[Tensor | None, ...],
    output: Tensor,
    options: Mapping[str, Any] | None = None,
) -> Call:
    indices = tuple(range(len(inputs)))
    return Call(Node(0, op, indices, (len(inputs),), options or {}), inputs, (output,), semantics)


def define_each(call: Call, steps: tuple[Array, ...]) -> Array:
    """The definition, step by step; `steps` are the computed inputs, with the axis of steps."""
    run = DEFINITIONS[call.node.op, call.semantics](call)
    results = []
    for step in range(len(steps[0])):
        computed = iter(steps)
        values = [
            None if t is None else next(computed)[step] if t.data is None else t.data
            for t in call.inputs
        ]
        results.append(run(values)[0])
    return np.stack(results)


def run_core(call: Call, level: str, steps: tuple[Array, ...]) -> Array:
    run = bind(call, level)
    assert run is not None, f"the core does not take {call.node.op} under {call.semantics}"
    computed = iter(steps)
    return run(
        [None if t is None else next(computed) if t.data is None else t.data for t in call.inputs]
    )[0]


def random_bytes(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
