"""Operator versions: which the Edge TPU compiler accepts, and giving a file those.

A version says which features of an operator a file uses; it changes no arithmetic.
litert-quantizer writes the versions of the float operators into int8 files, and the compiler then
reports "Operation version not supported".

Sources: LiteRT tflite/converter/tools/versioning/op_version.cc (the version that 8-bit arithmetic
needs); Google's own int8 models (the highest seen); compiler logs in public issues of
google-coral/edgetpu.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Tensor
from targets.edge_tpu.constraints import TABLE, why_not
from targets.edge_tpu.rules import Op, op_of

_INT8 = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "L2_NORMALIZATION": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PACK": 2,
    "PAD": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "RSQRT": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
}
"""The version from which an operator has int8 arithmetic; 1 for those that are not here."""

_HIGHEST = _INT8 | {
    "MUL": 3,  # a product of scales above the output's
    "QUANTIZE": 2,
    "RESIZE_BILINEAR": 3,  # half-pixel centres; compilers before 16 refuse them
    "RESIZE_NEAREST_NEIGHBOR": 3,
    "TRANSPOSE_CONV": 3,  # with a bias; version 4 cannot even be parsed
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 3,
}
"""The highest version that the compiler is known to accept; 1 for those that are not here."""

_KEEPS_DIMENSIONS = 5
"""FULLY_CONNECTED from this version on may keep the input's dimensions, or have no bias."""


def accepted(op: Op) -> tuple[int, int]:
    """The lowest and the highest version that the compiler accepts for an op as it is."""
    name = op.node.op
    lowest = _INT8.get(name, 1) if _data(op).dtype == "int8" else 1
    return lowest, max(lowest, _HIGHEST.get(name, 1))


def why_not_version(op: Op) -> str | None:
    """Why the compiler does not accept an op's version; None when it does."""
    lowest, highest = accepted(op)
    if lowest <= op.node.version <= highest:
        return None
    wanted = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
    remedy = (
        "the compile step rewrites it"
        if rewritten(op) is not None
        else "convert with an older converter"
    )
    return f"version {op.node.version} is not accepted for {_data(op).dtype}, {wanted} is: {remedy}"


def rewritten(op: Op) -> int | None:
    """The version that says the same of an op and is accepted; None when there is none.

    A higher version stands for features that the op may use. Those of FULLY_CONNECTED can be told
    from the op itself: it has a bias, and its input has two dimensions, which are kept anyway.
    """
    lowest, highest = accepted(op)
    if op.node.version < lowest:
        return lowest
    if op.node.version <= highest:
        return op.node.version
    if op.node.op == "FULLY_CONNECTED" and op.node.version == _KEEPS_DIMENSIONS:
        bias, data = op.at(2), _data(op)
        if bias is not None and len(data.shape) == 2:
            return lowest
    return None


def rewrite(content: bytes, *, where: str) -> tuple[bytes, tuple[str, ...]]:
    """Give the ops of a model accepted versions where that alone stands in the way.

    Constants that lie behind the flatbuffer move into it, for the compiler's schema is older than
    that place. Nothing else of the file changes: no value, no tensor, and no option but the
    dimensions that a fully connected op keeps anyway.

    Returns:
        The file's content, and what was changed, e.g. ``CONV_2D 1 -> 3``; empty and the same
        content when nothing was.

    Raises:
        ModelError: the file is broken.
    """
    graph = read_tflite(content, where=where).main
    wanted = {}
    for node in graph.nodes:
        op = op_of(graph, node)
        if not op.outputs or why_not(op) is not None:
            continue
        version = rewritten(op)
        if version is not None and version != node.version:
            wanted[node.index] = version
    changes = {
        f"{node.op} {node.version} -> {wanted[node.index]}": None
        for node in graph.nodes
        if node.index in wanted
    }
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if _move_inside(model, content):
        changes["constants moved into the flatbuffer"] = None
    if not changes:
        return content, ()
    return _with_versions(model, wanted), tuple(changes)


def _move_inside(model: schema.ModelT, content: bytes) -> bool:
    """Move buffers that lie behind the flatbuffer into it; whether there were any."""
    outside = [buffer for buffer in model.buffers if buffer.offset > 1]
    for buffer in outside:
        data = content[buffer.offset : buffer.offset + buffer.size]
        buffer.data = np.frombuffer(data, np.uint8)
        buffer.offset = buffer.size = 0
    return bool(outside)


def _with_versions(model: schema.ModelT, wanted: dict[int, int]) -> bytes:
    for index, version in wanted.items():
        operator = model.subgraphs[0].operators[index]
        options = operator.builtinOptions
        if getattr(options, "keepNumDims", False):
            options.keepNumDims = False
        operator.opcodeIndex = _code(model, operator.opcodeIndex, version)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(model: schema.ModelT, like: int, version: int) -> int:
    """The index of the operator code like another but for its version; added when missing."""
    base = model.operatorCodes[like]
    for index, code in enumerate(model.operatorCodes):
        if (code.builtinCode, code.customCode, code.version) == (
            base.builtinCode,
            base.customCode,
            version,
        ):
            return index
    added = schema.OperatorCodeT()
    added.builtinCode, added.deprecatedBuiltinCode = base.builtinCode, base.deprecatedBuiltinCode
    added.customCode, added.version = base.customCode, version
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _data(op: Op) -> Tensor:
    """The tensor whose dtype says which arithmetic an op is in."""
    positions = TABLE[op.node.op].data if op.node.op in TABLE else None
    first = op.at(positions[0]) if positions else op.at(0)
    return first if first is not None else op.outputs[0]
