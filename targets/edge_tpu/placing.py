"""The mapping of a model on the Edge TPU, predicted without the compiler.

The compiler makes one part of the graph the accelerator's. An op that it does not take stays on the
CPU with everything that depends on it, supported ops included; the float boundary in front (a
QUANTIZE of a float input) does not count. That it goes by dependency, not by the order in the file,
is seen in compiler logs of graphs with branches (google-coral/edgetpu issues, thermal-face issue 2,
ultralytics issue 20351).
"""

from pathlib import Path

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph, Node
from harness.emulator.sized_by_data import computed_size
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.placement import Placement, PlacementReport, Where
from targets.edge_tpu.compiled import CUSTOM_OP, compiled_report
from targets.edge_tpu.constraints import DTYPES, RUNTIME, caution, why_not
from targets.edge_tpu.rules import op_of
from targets.edge_tpu.versions import rewritten, why_not_version

_MIB = 1 << 20
_CACHE_BYTES = (7 * _MIB, int(8.2 * _MIB))
"""Used plus remaining on-chip memory in compiler logs of models with small activations."""


def check_edge_tpu(path: Path, _soc: str | None, _progress: Progress) -> PlacementReport:
    """Where the ops of a `.tflite` run on a board with an Edge TPU.

    A file that the Edge TPU compiler made is read as it is; of any other the mapping is predicted.

    Raises:
        ModelError: the file is broken, dynamic, or not quantized at all.
    """
    graph = read_tflite(path).main
    if any(node.op == CUSTOM_OP for node in graph.nodes):
        return compiled_report(graph)
    return predict(graph, where=str(path))


def predict(graph: Graph, *, where: str = "model", runtime: int = RUNTIME) -> PlacementReport:
    """What the compiler would map.

    Args:
        graph: the model's.
        where: what to call it in messages.
        runtime: of the device; older ones have fewer ops.

    Raises:
        ModelError: it is dynamic, or not quantized at all.
    """
    _refuse(graph, where)
    reasons = {node.index: _reason(graph, node, runtime) for node in graph.nodes}
    behind = _behind(graph, reasons)
    placement = []
    for node in graph.nodes:
        reason = reasons[node.index]
        place: Where = "cpu" if reason is not None or node.index in behind else "edge-tpu"
        why = reason or behind.get(node.index) or _mapped(graph, node)
        placement.append(_placed(graph, node, place, why))
    left = tuple(one.node for one in placement if one.where == "cpu")
    return PlacementReport(tuple(placement), left, _notes(graph, left, reasons))


def _refuse(graph: Graph, where: str) -> None:
    """Raise ModelError for what the compiler refuses as a whole."""
    made = {index for node in graph.nodes for index in node.outputs} | set(graph.inputs)
    if graph.nodes and not any(graph.tensors[index].dtype in DTYPES for index in made):
        node = graph.nodes[0]
        dtype = graph.tensors[node.outputs[0]].dtype if node.outputs else "nothing"
        raise ModelError(
            f"{where}: edge-tpu takes models quantized to int8 or uint8; node 0 ({node.op}) makes "
            f"{dtype}, as all others: quantize it, e.g. with recipe static_wi8_ai8"
        )
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if -1 in tensor.signature[1:] or 0 in tensor.shape:
            raise ModelError(
                f"{where}: edge-tpu takes static shapes; input {tensor.name!r} is declared "
                f"{list(tensor.signature or tensor.shape)}: fix its sizes before converting"
            )
    computed = computed_size(graph)
    if computed is not None:
        node, position = computed
        name = graph.tensors[node.inputs[position]].name
        raise ModelError(
            f"{where}: edgetpu_compiler refuses the file, for it has dynamic-sized tensors: the "
            f"size of {node.op} (node {node.index}) is computed (input {position}, {name!r}); it "
            "must be a constant: fix the batch and write the sizes as numbers, e.g. "
            "x.reshape(1, 512), before converting"
        )


def _reason(graph: Graph, node: Node, runtime: int) -> str | None:
    """Why the compiler leaves an op, taken for itself, to the CPU."""
    op = op_of(graph, node)
    if not op.outputs:
        return "it has no output"
    reason = why_not(op, runtime)
    if reason is not None:
        return reason
    return None if rewritten(op) is not None else why_not_version(op)


def _behind(graph: Graph, reasons: dict[int, str | None]) -> dict[int, str]:
    """Ops that depend on one that is left behind, with the reason."""
    cut: dict[int, Node] = {}
    behind: dict[int, str] = {}
    for node in graph.nodes:
        source = next((cut[index] for index in node.inputs if index in cut), None)
        if source is not None:
            behind[node.index] = (
                f"behind node {source.index} ({source.op}), which stays on the CPU: "
                "only one part of the graph is accelerated"
            )
        if source is not None or (reasons[node.index] and not _is_float_boundary(graph, node)):
            cut |= dict.fromkeys(node.outputs, source or node)
    return behind


def _is_float_boundary(graph: Graph, node: Node) -> bool:
    """A QUANTIZE of a float input of the graph."""
    return node.op == "QUANTIZE" and node.inputs[0] in graph.inputs


def _mapped(graph: Graph, node: Node) -> str:
    op = op_of(graph, node)
    said = "mapped"
    if why_not_version(op) is not None:
        said += f" once its version {node.version} is rewritten to {rewritten(op)}"
    doubt = caution(op)
    return f"{said}; {doubt}" if doubt else said


def _placed(graph: Graph, node: Node, where: Where, why: str) -> Placement:
    output = graph.tensors[node.outputs[0]].name if node.outputs else ""
    return Placement(node.index, node.op, output, where, why)


def _notes(graph: Graph, left: tuple[int, ...], reasons: dict[int, str | None]) -> tuple[str, ...]:
    notes = ["predicted from the published constraints, not by the compiler"]
    versions = {
        f"{node.op} {node.version} -> {rewritten(op)}": None
        for node in graph.nodes
        if reasons[node.index] is None and why_not_version(op := op_of(graph, node))
    }
    if versions:
        notes.append(
            "the compiler does not accept these operator versions as they are; compiling rewrites "
            f"them: {', '.join(versions)}"
        )
    causes = [index for index in left if reasons[index]]
    if len(left) > len(causes):
        notes.append(
            f"{len(left) - len(causes)} ops that the Edge TPU supports stay on the CPU behind "
            "others: move what is not supported to the end of the model"
        )
    notes.append(_cache_note(graph, set(left)))
    return tuple(notes)


def _cache_note(graph: Graph, left: set[int]) -> str:
    """What of the parameters fits into the on-chip memory, as a range."""
    constants = {
        index: graph.tensors[index]
        for node in graph.nodes
        if node.index not in left
        for index in node.inputs
        if index >= 0 and graph.tensors[index].data is not None
    }
    total = sum(tensor.data.nbytes for tensor in constants.values() if tensor.data is not None)
    low, high = _CACHE_BYTES
    room = f"the on-chip memory for them is {low / _MIB:.1f} to {high / _MIB:.1f} MiB"
    said = f"parameters of the mapped ops: {total / _MIB:.2f} MiB; {room}"
    if total <= low:
        return f"{said}, less where activations are large: they fit unless those are"
    streamed = f"{max(0, total - high) / _MIB:.2f} to {(total - low) / _MIB:.2f} MiB"
    return f"{said}: {streamed} are streamed for every inference, more where activations are large"
