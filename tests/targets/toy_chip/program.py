"""The toy chip's file: a mark, and a JSON object. Read for the emulator, and run on this host."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from harness.emulator.formats.graph_builder import GraphBuilder
from harness.emulator.formats.model_content import naming_what_is_broken
from harness.emulator.graph import Graph, Model, Quantization

from .runner import MARK, invoke

__all__ = ["MARK", "expose_toy", "read_toy", "run_toy", "written"]


def written(shape: tuple[int, ...], keep: int, scale: float, *, every: bool = False) -> bytes:
    """The content of a file; `every` asks for all tensors as outputs."""
    told = {"shape": shape, "keep": keep, "scale": scale, "every": every}
    return MARK + json.dumps(told).encode()


def read_toy(source: bytes, *, where: str) -> Model:
    """The graph of a file's content."""
    with naming_what_is_broken(where, "toy program"):
        if not source.startswith(MARK):
            raise ValueError("no mark")
        told = json.loads(source[len(MARK) :])
        return Model((_graph(tuple(told["shape"]), told["keep"], told["scale"], told["every"]),))


def _graph(shape: tuple[int, ...], keep: int, scale: float, every: bool) -> Graph:
    of = Quantization(np.array([scale], np.float32), np.array([0], np.int64))
    build = GraphBuilder()
    size = math.prod(shape)
    taken = build.tensor("taken", shape, "int8", of)
    flat = build.tensor("flat", (1, size), "int8", of)
    kept = build.tensor("kept", (1, keep), "int8", of)
    positive = build.tensor("positive", (1, keep), "int8", of)
    zero = build.tensor("zero", (1, keep), "int8", of, np.zeros((1, keep), np.int8))
    begin = build.constant("begin", np.array([0, 0], np.int32))
    sizes = build.constant("sizes", np.array([1, keep], np.int32))
    wanted = build.constant("shape", np.array([1, size], np.int32))
    build.node("RESHAPE", [taken, wanted], [flat], {"new_shape": (1, size)})
    build.node("SLICE", [flat, begin, sizes], [kept])
    build.node("MAXIMUM", [kept, zero], [positive])
    outputs = (flat, kept, positive) if every else (positive,)
    return build.graph("main", (taken,), outputs)


def expose_toy(content: bytes, where: str) -> tuple[bytes, tuple[int, ...]]:
    """The same program with all tensors as outputs, and which these are."""
    told = json.loads(content[len(MARK) :])
    changed = MARK + json.dumps(told | {"every": True}).encode()
    return changed, read_toy(changed, where=where).main.outputs


def run_toy(path: Path, inputs: list[Any]) -> list[Any]:
    """One invocation on this host."""
    return invoke(json.loads(path.read_bytes()[len(MARK) :]), inputs[0])
