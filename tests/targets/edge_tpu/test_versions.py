"""Operator versions: which are accepted, and that giving a file those changes nothing else."""

from collections.abc import Callable
from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.errors import ModelError
from targets.edge_tpu.build import prove_unchanged
from targets.edge_tpu.placing import predict
from targets.edge_tpu.rules import op_of
from targets.edge_tpu.versions import rewrite, rewritten, why_not_version
from tests.oracle.models import conv
from tests.oracle.networks import residual
from tests.targets.edge_tpu.graphs import ADD, CONV, line


def changed(content: bytes, change: Callable[[schema.ModelT], None]) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def float_versions(model: schema.ModelT) -> None:
    for code in model.operatorCodes:
        code.version = 1


@pytest.mark.parametrize(
    ("op", "version", "accepted"),
    [(CONV, 3, 3), (CONV, 1, 3), (CONV, 6, None), (ADD, 1, 2), (ADD, 2, 2), (ADD, 5, None)],
)
def test_versions_of_int8_ops(
    op: tuple[str, dict[str, object]], version: int, accepted: int | None
) -> None:
    graph = line((op[0], {**op[1], "version": version}))
    one = op_of(graph, graph.nodes[0])
    assert rewritten(one) == accepted
    assert (why_not_version(one) is None) == (version == accepted)
    [placed] = predict(graph).placement
    assert placed.where == ("cpu" if accepted is None else "edge-tpu")
    if version != accepted:
        assert f"version {version}" in placed.why


def test_a_version_of_fully_connected_that_only_keeps_dimensions() -> None:
    constants = [((9, 16), "int8", 1), ((9,), "int32", 0)]
    given = {"takes": [(1, 16)], "shape": (1, 9), "constants": constants, "version": 5}
    flat, high = (
        line(("FULLY_CONNECTED", given)),
        line(("FULLY_CONNECTED", {**given, "version": 6})),
    )
    assert rewritten(op_of(flat, flat.nodes[0])) == 4
    assert rewritten(op_of(high, high.nodes[0])) is None
    deep = replace(flat.tensors[1], shape=(1, 1, 16))
    deeper = replace(flat, tensors=(flat.tensors[0], deep, *flat.tensors[2:]))
    assert rewritten(op_of(deeper, deeper.nodes[0])) is None


def test_rewriting_changes_versions_alone() -> None:
    content = changed(residual(), float_versions)
    made, changes = rewrite(content, where="model")
    before, after = read_tflite(content).main, read_tflite(made).main
    assert changes
    assert all(" 1 -> " in change for change in changes)
    assert [n.op for n in before.nodes] == [n.op for n in after.nodes]
    assert all(n.version > 1 for n in after.nodes if n.op in ("CONV_2D", "ADD"))
    assert "emulated before and after" in prove_unchanged(before, after)
    assert rewrite(made, where="model") == (made, ())


def test_a_change_of_arithmetic_is_no_proof() -> None:
    content = conv().data

    def other_weights(model: schema.ModelT) -> None:
        buffers = [b for b in model.buffers if b.data is not None and len(b.data) > 40]
        buffers[0].data = np.asarray(buffers[0].data) ^ 1

    def other_stride(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = 1

    before = read_tflite(content).main
    for change, said in ((other_weights, "changed tensor"), (other_stride, "changed values")):
        with pytest.raises(ModelError, match=said):
            prove_unchanged(before, read_tflite(changed(content, change)).main)


def test_constants_behind_the_flatbuffer_move_into_it() -> None:
    content = conv().data
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    place = next(i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data) > 40)
    data = bytes(bytearray(model.buffers[place].data))

    def outside(at: int) -> bytes:
        def change(model: schema.ModelT) -> None:
            model.buffers[place].data = None
            model.buffers[place].offset, model.buffers[place].size = at, len(data)

        return changed(content, change)

    head = outside(1 << 20)
    head = outside(len(head)) if len(outside(len(head))) == len(head) else head
    moved, changes = rewrite(head + data, where="model")
    assert "constants moved into the flatbuffer" in changes
    prove_unchanged(read_tflite(content).main, read_tflite(moved).main)
