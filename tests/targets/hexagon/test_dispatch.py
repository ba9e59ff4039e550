"""Compiled files are untrusted: whatever is wrong with one ends in a ModelError."""

from collections.abc import Mapping
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from harness.errors import ModelError
from targets.hexagon.dispatch import read_compiled
from tests.oracle.models import conv

WHOLE = {"bytecode_offset": 16, "bytecode_size": 8, "name": "part"}


def compiled(options: bytes, stamp: bytes = b"Qualcomm\0\0SM8650\0\0") -> bytes:
    """A file with one dispatch op of those options."""
    model = schema.ModelT.InitFromPackedBuf(conv().data, 0)
    code, node = model.operatorCodes[0], model.subgraphs[0].operators[0]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = "DISPATCH_OP"
    node.inputs = model.subgraphs[0].inputs
    node.builtinOptionsType, node.builtinOptions = 0, None
    node.customOptions = np.frombuffer(options, np.uint8)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(stamp, np.uint8)
    entry.name, entry.buffer = "LiteRtStamp", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [entry]
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def test_a_context_is_found_by_its_options(tmp_path: Path) -> None:
    content = compiled(bytes(flexbuffers.Dumps(WHOLE)))
    made = read_compiled(written(tmp_path, content))
    [context] = made.contexts.values()
    assert made.soc == "SM8650"
    assert (context.name, context.content) == ("part", content[16:24])
    assert [tensor.dtype for tensor in context.inputs] == ["int8"]


@pytest.mark.parametrize(
    "options",
    [
        {**WHOLE, "bytecode_offset": 1 << 40},
        {**WHOLE, "bytecode_offset": -4},
        {**WHOLE, "bytecode_size": 0},
        {**WHOLE, "bytecode_size": "many"},
        {"name": "part"},
    ],
)
def test_options_that_name_no_context(tmp_path: Path, options: Mapping[str, object]) -> None:
    content = compiled(bytes(flexbuffers.Dumps(dict(options))))
    with pytest.raises(ModelError, match=r"DISPATCH_OP|outside the file"):
        read_compiled(written(tmp_path, content))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x00"])
def test_options_that_are_no_flexbuffer(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match="DISPATCH_OP"):
        read_compiled(written(tmp_path, compiled(content)))


def test_files_that_are_not_compiled_or_do_not_say_for_what(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no part of it is compiled"):
        read_compiled(written(tmp_path, conv().data))
    unsaid = compiled(bytes(flexbuffers.Dumps(WHOLE)), stamp=b"\0\0")
    assert read_compiled(written(tmp_path, unsaid)).soc is None
