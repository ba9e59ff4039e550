"""A case is a number: the same number is the same damaged file and the same profile."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from harness.emulator.formats.model_file import PTE
from harness.emulator.formats.pte import read_method
from harness.emulator.formats.pte_all_tensors import expose_program
from harness.emulator.formats.tflite import read_tflite, stored_dtype
from harness.emulator.formats.tflite_all_tensors import exposed_tensors
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from tests.oracle import control, programs, recurrent
from tests.oracle.catalogue import FAMILIES, draw
from tests.oracle.networks import residual

PROFILES = ("litert-ref", "litert-builtin-x86", "litert-xnnpack-x86", "litert-xnnpack-arm")
LARGE = 1 << 20
"""Products of a graph that would take long to run for a good reason; such files are only read."""

_WORDS = (0, 1, -1, 2, 127, 128, 255, 1 << 15, 1 << 16, 1 << 24, (1 << 31) - 1, -(1 << 31))


@cache
def corpus() -> tuple[bytes, ...]:
    """One whole file of every family of the catalogue, small networks and programs."""
    networks = (
        control.branches(),
        control.loop(),
        control.growing(),
        control.running_sum(),
        control.open_shapes(),
        control.float_branch(),
        control.constant_outputs(),
        control.scalars(),
        recurrent.lstm(peephole=True, projection=True),
        recurrent.lstm(kind="hybrid", norm=True),
        recurrent.svdf(),
    )
    return (
        residual(),
        programs.GOLDEN.with_suffix(".pte").read_bytes(),
        programs.BESIDE.read_bytes(),
        *networks,
        *(draw(family, 1, seed=7)[0].data for family in sorted(FAMILIES)),
    )


def damaged(number: int) -> bytes:
    """The file of a case: bytes and words replaced, pieces moved, ends cut off."""
    rng = np.random.default_rng([number, 20261122])
    files = corpus()
    content = bytearray(files[number % len(files)])
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        _damage(content, rng)
    return bytes(content)


def _damage(content: bytearray, rng: np.random.Generator) -> None:
    kind = rng.integers(8)
    at = int(rng.integers(max(1, len(content))))
    if kind < 2:
        content[at : at + 1] = rng.bytes(1)
    elif kind < 4:
        content[at : at + 1] = bytes([content[at] ^ (1 << int(rng.integers(8)))])
    elif kind < 6:  # offsets, lengths and shapes are words of four bytes
        at -= at % 4
        content[at : at + 4] = (int(rng.choice(_WORDS)) & 0xFFFFFFFF).to_bytes(4, "little")
    elif kind == 6:
        other = corpus()[int(rng.integers(len(corpus())))]
        start = int(rng.integers(len(other)))
        piece = other[start : start + int(rng.integers(1, 64))]
        content[at : at + len(piece)] = piece
    elif rng.integers(8) == 0:
        del content[at:]
        content += b"\0" * (not content)


def run(number: int) -> str:
    """Read the file of a case, look for its tensors, and run it; what became of it.

    Anything but a ModelError that leaves the product is a defect and leaves this function too.
    """
    content = damaged(number)
    try:
        graph = _read(content)
        if _products(graph) > LARGE:
            return "large"
        name = PROFILES[number // len(corpus()) % len(PROFILES)]
        profile = get_profile("executorch-xnnpack-x86" if PTE.marks(content) else name)
        emulation = Emulator(graph, profile).run(_zeros(graph))
    except ModelError:
        return "refused"
    return "unknown" if emulation.unknown else "ran"


def _read(content: bytes) -> Graph:
    """The graph, after its tensors were looked for as `verify` does."""
    if PTE.marks(content):
        method = read_method(content, where="model")
        expose_program(method)
        return method.graph
    model = read_tflite(content)
    exposed_tensors(model.main)
    return model.main


def _zeros(graph: Graph) -> Sequence[Array]:
    dtypes = [stored_dtype(graph.tensors[index].dtype) for index in graph.inputs]
    shapes = [graph.tensors[index].shape or (1,) for index in graph.inputs]
    return [np.zeros(s, d or np.int8) for s, d in zip(shapes, dtypes, strict=True)]


def _products(graph: Graph) -> int:
    """An upper bound on multiplications: each output element times a constant's row, or itself."""
    total = 0
    for node in graph.nodes:
        constants = [graph.tensors[i].data for i in node.inputs if i >= 0]
        depth = max((x.size for x in constants if x is not None), default=1)
        made = sum(math.prod(graph.tensors[i].shape) for i in node.outputs)
        read = sum(math.prod(graph.tensors[i].shape) for i in node.inputs if i >= 0)
        total += (made + read) * max(1, depth)
    return total
