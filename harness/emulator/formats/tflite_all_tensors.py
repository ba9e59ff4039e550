"""Rewrites a `.tflite` file so that every computed tensor is a graph output.

It is the one way to see intermediate tensors on any device with any kernels: a delegate keeps
nothing but the outputs of what it takes. No byte of the original is moved and only offsets are
changed: the new lists of outputs are appended to the file, and the graph's and the signatures'
tables point there.
"""

import struct
from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema
from flatbuffers.table import Table

from harness.emulator.formats.tflite import read_tflite, stored_dtype
from harness.emulator.graph import Graph, Node
from harness.errors import ModelError

_SUBGRAPH_OUTPUTS = 8
_SIGNATURE_OUTPUTS = 6
"""Where the vtables of SubGraph and SignatureDef tell the place of the field `outputs`."""

_MODEL_SUBGRAPHS = 8
_MODEL_SIGNATURES = 18
"""Likewise of Model: its fields `subgraphs` and `signature_defs`."""

_TENSOR_MAP_VTABLE = struct.pack("<4H", 8, 12, 4, 8)
"""Size of the vtable, size of the table, places of `name` and `tensor_index` in the table."""


def exposed_tensors(graph: Graph) -> tuple[int, ...]:
    """Tensor indices of the exposed file's outputs, in their order.

    The original outputs come first, then, in execution order, every other tensor that a node of the
    graph makes, not of constants alone, and whose dtype has a numpy form. XNNPACK takes dequantized
    constants in and never writes them.
    """
    folded = {node.index for node in made_of_constants(graph)}
    nodes = (node for node in graph.nodes if node.index not in folded)
    made = (index for node in nodes for index in node.outputs)
    return graph.outputs + tuple(
        index
        for index in made
        if index not in graph.outputs
        and stored_dtype(graph.tensors[index].dtype) is not None
        and graph.tensors[index].data is None
    )


def made_of_constants(graph: Graph) -> tuple[Node, ...]:
    """The nodes whose inputs are constants or made of constants alone.

    A constant that is not read here (a sparse one) is one too: runtimes that prepare constants
    never fill the tensors that these nodes make.
    """
    made = {index for node in graph.nodes for index in node.outputs} | set(graph.inputs)
    known = {
        tensor.index
        for tensor in graph.tensors
        if tensor.data is not None or not (tensor.variable or tensor.index in made)
    }
    found = []
    for node in graph.nodes:
        inputs = [index for index in node.inputs if index >= 0]
        if inputs and known.issuperset(inputs):
            known.update(node.outputs)
            found.append(node)
    return tuple(found)


def expose_all_tensors(tflite: bytes, *, number: int = 0, where: str = "model") -> bytes:
    """Make every computed tensor of a graph an output of it, and of its signatures.

    Its names in a signature are ``tensor_<index>``. Arithmetic, tensors and their indices stay. A
    graph other than the main one takes its place, so that it is what runs; then no signature is
    left.

    Args:
        tflite: the file's content; untrusted.
        number: of the graph in the file.
        where: what to call the file in messages.

    Returns:
        The new file's content; its outputs are those of `exposed_tensors`.

    Raises:
        ModelError: the file is broken, or another graph than the main one calls that.
    """
    model = read_tflite(tflite, where=where)
    graph = model.graphs[number]
    outputs = exposed_tensors(graph)
    added = outputs[len(graph.outputs) :]
    root = schema.Model.GetRootAs(tflite, 0)
    content = bytearray(tflite)
    _point_to_end(content, root.Subgraphs(number)._tab, _SUBGRAPH_OUTPUTS)
    content += struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs)
    if number:
        if any(_calls(node, 0) for other in model.graphs[1:] for node in other.nodes):
            raise ModelError(
                f"{where}: a graph calls the main one, which graph {number} stands for"
            )
        _stand_for_main(content, root, number)
        return bytes(content)
    for index in range(root.SignatureDefsLength()):
        signature = root.SignatureDefs(index)
        if signature.SubgraphIndex() == 0:
            _append_signature_outputs(content, signature, added)
    return bytes(content)


def _calls(node: Node, number: int) -> bool:
    return any(
        name.endswith("_subgraph_index") and value == number for name, value in node.options.items()
    )


def _stand_for_main(content: bytearray, root: schema.Model, number: int) -> None:
    """Let the first entry of the file's graphs be a second reference to another graph, which keeps
    its own place for those who call it; and let the list of signatures be empty."""
    table = root._tab
    graphs = table.Vector(table.Offset(_MODEL_SUBGRAPHS))
    struct.pack_into("<I", content, graphs, root.Subgraphs(number)._tab.Pos - graphs)
    _point_to_end(content, table, _MODEL_SIGNATURES)
    content += struct.pack("<I", 0)


def _point_to_end(content: bytearray, table: Table, field: int) -> None:
    """Let an offset field of a table of the original point to the end of the aligned content.

    A table without the field stays as it is: there is no place for the offset.
    """
    content += b"\0" * (-len(content) % 4)
    place = table.Offset(field)
    if place:
        struct.pack_into("<I", content, table.Pos + place, len(content) - table.Pos - place)


def _append_signature_outputs(
    content: bytearray, signature: schema.SignatureDef, added: Sequence[int]
) -> None:
    """Append a signature's outputs and the new ones: a vector of offsets, then one table and one
    string each."""
    old = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    entries = [(entry.Name() or b"", entry.TensorIndex()) for entry in old]
    entries += [(b"tensor_%d" % index, index) for index in added]
    _point_to_end(content, signature._tab, _SIGNATURE_OUTPUTS)
    vector = len(content) + 4
    content += struct.pack(f"<I{len(entries)}I", len(entries), *[0] * len(entries))
    vtable = len(content)
    content += _TENSOR_MAP_VTABLE
    for number, (name, index) in enumerate(entries):
        place = vector + 4 * number
        table = len(content)
        struct.pack_into("<I", content, place, table - place)
        content += struct.pack("<iII", table - vtable, 8, index)
        content += struct.pack("<I", len(name)) + name + b"\0"
        content += b"\0" * (-len(content) % 4)
