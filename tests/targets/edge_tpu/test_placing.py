"""The predicted mapping of whole graphs: what is cut off, what is refused, what is noted."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph, Node
from harness.errors import ModelError
from targets.edge_tpu.compiled import left_on_cpu, mapped_ops
from targets.edge_tpu.placing import check_edge_tpu, predict
from tests.oracle.build import Builder, options, per_tensor
from tests.targets.edge_tpu.graphs import ADD, CONV, line, tensor

ARG_MAX = ("ARG_MAX", {"dtype": "int8"})


def where(graph: Graph) -> list[str]:
    return [one.where for one in predict(graph).placement]


def test_what_depends_on_an_unmapped_op_stays_with_it() -> None:
    report = predict(line(CONV, ARG_MAX, CONV, ADD))
    assert [one.where for one in report.placement] == ["edge-tpu", "cpu", "cpu", "cpu"]
    assert report.placement[3].why.startswith("behind node 1 (ARG_MAX), which stays on the CPU")
    assert report.left == (1, 2, 3)
    assert any("2 ops that the Edge TPU supports" in note for note in report.notes)


def test_a_branch_beside_an_unmapped_op_is_mapped() -> None:
    graph = line(CONV, ARG_MAX, ADD)
    beside = replace(graph.nodes[2], inputs=(graph.nodes[0].outputs[0], graph.nodes[2].inputs[1]))
    branches = replace(graph, nodes=(*graph.nodes[:2], beside))
    assert where(branches) == ["edge-tpu", "cpu", "edge-tpu"]


def test_a_float_boundary_in_front_cuts_nothing_off() -> None:
    graph = line(("QUANTIZE", {"version": 1}), CONV)
    outside = (tensor(0, (1, 8, 8, 4), "float32"), *graph.tensors[1:])
    assert where(replace(graph, tensors=outside)) == ["cpu", "edge-tpu"]


def test_what_the_compiler_refuses_as_a_whole() -> None:
    graph = line(CONV, ADD)
    floats = tuple(replace(t, dtype="float32", quantization=None) for t in graph.tensors)
    with pytest.raises(ModelError, match=r"node 0 \(CONV_2D\) makes float32.*static_wi8_ai8"):
        predict(replace(graph, tensors=floats))
    moving = replace(graph.tensors[0], signature=(1, -1, 8, 4))
    with pytest.raises(ModelError, match=r"'t0' is declared \[1, -1, 8, 4\]: fix its sizes"):
        predict(replace(graph, tensors=(moving, *graph.tensors[1:])))


def test_computed_axes_are_no_constant() -> None:
    graph = line(("MEAN", {"version": 1}))
    shape = tensor(2, (4,), "int32")
    [node] = graph.nodes
    computed = replace(node, inputs=(0, 2))
    [one] = predict(replace(graph, tensors=(*graph.tensors, shape), nodes=(computed,))).placement
    assert "input 1 ('t2') is computed: it must be a constant" in one.why


def test_parameters_that_do_not_fit_are_told_as_a_range() -> None:
    def note(mib: int) -> str:
        graph = line(CONV)
        data = np.zeros((mib << 20, 1, 1, 1), np.int8)
        weights = replace(graph.tensors[1], data=data, quantization=None)
        tensors = (graph.tensors[0], weights, *graph.tensors[2:])
        return predict(replace(graph, tensors=tensors)).notes[-1]

    assert "they fit unless" in note(6)
    assert "0.00 to 1.00 MiB are streamed" in note(8)
    assert "1.80 to 3.00 MiB are streamed" in note(10)


def test_a_compiled_graph_is_read_as_it_is() -> None:
    graph = line(CONV, ADD, ARG_MAX)
    custom = Node(0, "edgetpu-custom-op", (0,), graph.nodes[1].outputs)
    compiled = replace(graph, nodes=(custom, replace(graph.nodes[2], index=1)))
    assert left_on_cpu(compiled) == Counter({"ARG_MAX": 1})
    assert mapped_ops(graph, compiled) == Counter({"CONV_2D": 1, "ADD": 1})


def model(name: str) -> Path:
    folder = os.environ.get("EDGEFARM_TEST_MODELS")
    if not folder:
        pytest.skip("EDGEFARM_TEST_MODELS names no folder of models")
    return Path(folder) / name


def test_a_public_pair_is_predicted_as_it_was_compiled() -> None:
    source = read_tflite(model("mobilenet_v1_0.25_128_uint8.tflite")).main
    compiled = model("mobilenet_v1_0.25_128_uint8_edgetpu.tflite")
    predicted = Counter(o.op for o in predict(source).placement if o.where == "edge-tpu")
    assert predicted == mapped_ops(source, read_tflite(compiled).main)
    report = check_edge_tpu(compiled, None, lambda *_: None)
    assert [one.op for one in report.placement] == ["edgetpu-custom-op"]
    assert report.left == ()


def test_public_int8_models_map_whole() -> None:
    for name in ("mobilenet_v2_1.0_224_int8.tflite", "vww_96_int8.tflite", "ad01_int8.tflite"):
        assert predict(read_tflite(model(name)).main).left == ()


@pytest.mark.parametrize("op", ["RESHAPE", "PAD", "RESIZE_BILINEAR"])
def test_a_computed_size_is_refused_by_the_compiler(op: str) -> None:
    builder, quant = Builder(), per_tensor(0.1)
    x, y = (builder.tensor((1, 4, 4, 2), "int8", quant) for _ in range(2))
    shape = builder.tensor((4,), "int32")
    builder.op("SHAPE", [x], [shape], options("Shape"))
    builder.op(op, [x, shape], [y])
    graph = read_tflite(builder.finish([x], [y])).main
    with pytest.raises(ModelError, match=rf"dynamic-sized tensors: the size of {op} \(node 1\)"):
        predict(graph)
