import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.formats.tflite_all_tensors import expose_all_tensors, exposed_tensors
from harness.errors import ModelError
from tests.oracle import elementwise, models
from tests.oracle.build import Builder, options
from tests.oracle.control import Q, branches
from tests.oracle.networks import residual
from tests.oracle.runtimes import Answer, Array, Kernels, Request, run_all

KERNELS: tuple[Kernels, ...] = ("reference", "builtin", "xnnpack")
SHARED = os.environ.get("EDGEFARM_TEST_MODELS")


def test_outputs_are_all_computed_tensors_in_execution_order() -> None:
    model = residual()
    wanted = exposed_tensors(read_tflite(model).main)
    assert wanted == (7, 2, 5, 6)
    exposed = read_tflite(expose_all_tensors(model))
    assert exposed.main.outputs == wanted
    assert exposed_tensors(exposed.main) == wanted
    names = {"output_0": 7, "tensor_2": 2, "tensor_5": 5, "tensor_6": 6}
    assert exposed.entry_points[0].outputs == names


def test_the_runtime_reads_the_new_signature() -> None:
    model = expose_all_tensors(residual())
    interpreter = Interpreter(model_content=model)
    run = interpreter.get_signature_runner("serving_default")
    results = run(args_0=np.zeros((1, 5, 5, 4), np.int8))
    assert set(results) == {"output_0", "tensor_2", "tensor_5", "tensor_6"}
    assert results["tensor_2"].shape == (1, 7, 7, 4)


def test_another_graph_takes_the_place_of_the_main_one() -> None:
    model = branches()
    exposed = read_tflite(expose_all_tensors(model, number=1))
    assert [node.op for node in exposed.main.nodes] == ["ADD"]
    assert len(exposed.graphs) == 3
    assert not exposed.entry_points
    x = np.arange(-2, 3, dtype=np.int8)[np.newaxis]
    (answer,) = run_all(
        [Request(expose_all_tensors(model, number=1), (x,), "reference", all_tensors=False)]
    )
    assert answer.error == ""


def test_a_main_graph_that_is_called_keeps_its_place() -> None:
    main, second = (builder := Builder()), builder.subgraph()
    x, y = (main.tensor((1, 5), "int8", Q) for _ in range(2))
    main.op("RELU", [x], [y])
    condition = second.tensor((1,), "bool")
    a, b = (second.tensor((1, 5), "int8", Q) for _ in range(2))
    second.op("IF", [condition, a], [b], options("If", thenSubgraphIndex=0, elseSubgraphIndex=0))
    model = main.finish([x], [y], others=[(second, [condition, a], [b])])
    with pytest.raises(ModelError, match="calls the main one"):
        expose_all_tensors(model, number=1)


def test_no_byte_but_the_offsets_changes() -> None:
    model = residual()
    exposed = expose_all_tensors(model)
    changed = [i for i, byte in enumerate(model) if exposed[i] != byte]
    assert len({i // 4 for i in changed}) <= 4  # one offset in the graph, one in the signature
    again = schema.ModelT.InitFromPackedBuf(exposed, 0)
    before = schema.ModelT.InitFromPackedBuf(model, 0)
    for old, new in zip(before.buffers, again.buffers, strict=True):
        assert np.array_equal(old.data, new.data)


def both_ways(model: bytes, inputs: tuple[Array, ...]) -> list[tuple[Answer, Answer]]:
    """(plain, exposed) under every kind of kernels."""
    exposed = expose_all_tensors(model)
    requests = [
        Request(content, inputs, kernels, all_tensors=False)
        for kernels in KERNELS
        for content in (model, exposed)
    ]
    answers = run_all(requests)
    return list(zip(answers[::2], answers[1::2], strict=True))


def assert_same_outputs(model: bytes, inputs: tuple[Array, ...]) -> None:
    wanted = set(exposed_tensors(read_tflite(model).main))
    for plain, exposed in both_ways(model, inputs):
        assert plain.error == exposed.error == ""
        assert set(exposed.tensors) == wanted
        for index, value in plain.tensors.items():
            assert np.array_equal(value, exposed.tensors[index])


@pytest.mark.parametrize("signature", [True, False])
def test_plain_outputs_stay_on_a_fusable_network(signature: bool) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-128, 128, (1, 5, 5, 4)).astype(np.int8)
    assert_same_outputs(residual(signature=signature), (x,))


@pytest.mark.parametrize(
    "model",
    [models.conv(), models.depthwise(), models.fully_connected(), elementwise.binary("ADD")],
    ids=lambda model: model.name,
)
def test_a_single_op_model_stays_what_it_is(model: models.Model) -> None:
    assert_same_outputs(model.data, model.sample(1))


@pytest.mark.skipif(SHARED is None, reason="EDGEFARM_TEST_MODELS names no folder of models")
@pytest.mark.parametrize(
    "name",
    [
        "ad01_int8",
        "mobilenet_v1_0.25_128_uint8",
        "mobilenet_v2_1.0_224_int8",
        "vww_96_int8",
    ],
)
def test_plain_outputs_stay_on_real_models(name: str) -> None:
    content = (Path(str(SHARED)) / f"{name}.tflite").read_bytes()
    main = read_tflite(content).main
    rng = np.random.default_rng(0)
    inputs = tuple(
        rng.integers(-128, 128, main.tensors[i].shape).astype(main.tensors[i].dtype)
        for i in main.inputs
    )
    assert_same_outputs(content, inputs)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\x10\0\0\0TFL3" + b"\xff" * 64])
def test_a_broken_file_is_a_model_error(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"broken\.tflite"):
        expose_all_tensors(content, where="broken.tflite")


def test_mutated_files_never_raise_anything_else() -> None:
    model = residual()
    rng = np.random.default_rng(0)
    for _ in range(500):
        mutated = bytearray(model)
        for place in rng.integers(0, len(model), 3):
            mutated[place] = rng.integers(0, 256)
        try:
            exposed = expose_all_tensors(bytes(mutated))
        except ModelError:
            continue
        read_tflite(exposed)
