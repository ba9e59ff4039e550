"""Reads what LiteRT's compiler for Qualcomm made: for which chip, and where the contexts are.

A part of the graph that went to the accelerator is a custom op whose options, a flexbuffer, say
where in the file its context binary lies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from harness.emulator.formats.model_content import read_content
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph, Tensor
from harness.errors import ModelError

OP = "DISPATCH_OP"
_STAMP = b"LiteRtStamp"
_OPTIONS = {"bytecode_offset", "bytecode_size", "name"}


@dataclass(frozen=True, eq=False)
class Context:
    """One part of a graph for the accelerator.

    Attributes:
        name: of the part, e.g. ``qnn_partition_0``.
        content: the context binary.
        inputs, outputs: its tensors; the context knows them by the same names.
    """

    name: str
    content: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class CompiledFile:
    """A `.tflite` that was compiled for Qualcomm.

    Attributes:
        graph: its main graph; parts for the accelerator are nodes `OP`.
        soc: the chip it was compiled for; None when the file does not say.
        contexts: by node.
    """

    graph: Graph
    soc: str | None
    contexts: dict[int, Context]


def read_compiled(path: Path) -> CompiledFile:
    """Read a compiled file.

    Raises:
        UsageError: it cannot be read.
        ModelError: it is broken, or no part of it is compiled.
    """
    content = read_content(path)
    graph = read_tflite(content, where=str(path)).main
    root = schema.Model.GetRootAs(content, 0)
    contexts = {}
    for node in graph.nodes:
        if node.op != OP:
            continue
        options = root.Subgraphs(0).Operators(node.index).CustomOptionsAsNumpy()
        place = _options(b"" if isinstance(options, int) else bytes(options), path)
        start, size = int(place["bytecode_offset"]), int(place["bytecode_size"])
        if start < 0 or size <= 0 or start + size > len(content):
            raise ModelError(f"{path}: node {node.index}: its context lies outside the file")
        contexts[node.index] = Context(
            str(place["name"]),
            content[start : start + size],
            tuple(graph.tensors[index] for index in node.inputs if index >= 0),
            tuple(graph.tensors[index] for index in node.outputs),
        )
    if not contexts:
        raise ModelError(f"{path}: no part of it is compiled for an accelerator of Qualcomm's")
    return CompiledFile(graph, _soc(root), contexts)


def _options(content: bytes, path: Path) -> dict[str, Any]:
    try:
        options = flexbuffers.Loads(content)
        if isinstance(options, dict) and set(options) >= _OPTIONS:
            int(options["bytecode_offset"]), int(options["bytecode_size"])
            return options
    except Exception as error:  # the reader raises anything on bytes that are no flexbuffer
        raise ModelError(f"{path}: a {OP} with broken options: {error}") from error
    raise ModelError(f"{path}: a {OP} whose options name no context")


def _soc(root: schema.Model) -> str | None:
    """The chip of the compiler's stamp: two texts padded with zeros, maker and model."""
    for index in range(root.MetadataLength()):
        entry = root.Metadata(index)
        if entry.Name() == _STAMP and entry.Buffer() < root.BuffersLength():
            data = root.Buffers(entry.Buffer()).DataAsNumpy()
            words = b"" if isinstance(data, int) else bytes(data)
            found = [word.decode(errors="replace") for word in words.split(b"\0") if word]
            return found[1] if len(found) > 1 else None
    return None
