"""What a run promises, what it refuses, and that a planted change of semantics is found."""

from dataclasses import replace

import numpy as np
import pytest

from harness.arithmetic.profile import ArithmeticProfile, Evidence
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph, Node, Quantization, Tensor
from harness.emulator.interpreter import accumulator_at, emulate
from harness.emulator.profiles import PROFILES, get_profile
from harness.errors import ModelError, UsageError
from tests.oracle.networks import RESIDUAL_TENSORS, residual

REF = get_profile("litert-ref")
UNIT = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64))


def sample(seed: int = 0, count: int = 1) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, (count, 5, 5, 4)).astype(np.int8)


def tensor(
    index: int, shape: tuple[int, ...], dtype: str = "int8", data: Array | None = None
) -> Tensor:
    quantization = UNIT if dtype == "int8" else None
    return Tensor(index, f"t{index}", shape, dtype, quantization, data)


def changed(profile: ArithmeticProfile, op: str, **fields: object) -> ArithmeticProfile:
    entries = tuple(
        replace(e, **fields) if op in e.ops and "int8" in e.dtypes else e  # type: ignore[arg-type]
        for e in profile.entries
    )
    return replace(profile, entries=entries)


@pytest.mark.parametrize("other", ["S5:single", "S4:double", "S6:single", "S3:double"])
def test_a_planted_change_of_semantics_shows_first_at_its_op(other: str) -> None:
    graph, x = read_tflite(residual()).main, sample(3, 40)
    right = emulate(graph, REF, [x], all_tensors=True)
    wrong = emulate(graph, changed(REF, "CONV_2D", semantics=other), [x], all_tensors=True)
    differs = {
        op: bool(np.any(right.tensors[i] != wrong.tensors[i])) for op, i in RESIDUAL_TENSORS.items()
    }
    assert not differs["PAD"]
    assert differs["CONV_2D"]


def test_the_accumulator_behind_an_element() -> None:
    graph = read_tflite(residual()).main
    node = next(n for n in graph.nodes if n.op == "CONV_2D")
    tensors = emulate(graph, REF, [sample(1, 2)], all_tensors=True).tensors
    x, w = tensors[node.inputs[0]][1].astype(int), graph.tensors[node.inputs[1]].data
    bias = graph.tensors[node.inputs[2]].data
    assert w is not None
    assert bias is not None
    padded = np.pad(x - 3, ((1, 1), (1, 1), (0, 0)))
    expected = int((padded[2:5, 3:6] * w[1].astype(int)).sum() + bias[1])
    assert accumulator_at(graph, REF, tensors, node.index, (1, 2, 3, 1)) == expected
    pad = next(n for n in graph.nodes if n.op == "PAD")
    assert accumulator_at(graph, REF, tensors, pad.index, (0, 0, 0, 0)) is None
    assert accumulator_at(graph, REF, {}, node.index, (0, 0, 0, 0)) is None


def test_promises_are_the_weakest_on_the_way() -> None:
    graph = read_tflite(residual()).main
    assumed = changed(REF, "CONV_2D", evidence=Evidence.ASSUMED)
    promises = emulate(graph, assumed, [sample()]).promises
    made = RESIDUAL_TENSORS
    assert promises[made["PAD"]] == "exact"
    assert {promises[made[op]] for op in ("CONV_2D", "ADD", "RELU")} == {"assumed"}


def test_an_op_without_entry_is_named_and_what_follows_is_unknown() -> None:
    graph = read_tflite(residual()).main
    nodes = tuple(replace(n, op="EDGE_OP") if n.op == "ADD" else n for n in graph.nodes)
    run = emulate(replace(graph, nodes=nodes), REF, [sample()], all_tensors=True)
    (missing,) = run.unknown
    assert (missing.op, missing.node, missing.tensor) == ("EDGE_OP", 2, graph.tensors[6].name)
    assert "no entry" in missing.reason
    assert run.outputs == (None,)
    assert (
        run.promises[RESIDUAL_TENSORS["ADD"]] == run.promises[RESIDUAL_TENSORS["RELU"]] == "unknown"
    )
    assert RESIDUAL_TENSORS["CONV_2D"] in run.tensors
    assert RESIDUAL_TENSORS["ADD"] not in run.tensors


def test_float_arithmetic_is_not_promised_and_spreads() -> None:
    tensors = (tensor(0, (1, 2), "float32"), tensor(1, (1, 2), "float32"), tensor(2, (1, 2)))
    nodes = (Node(0, "RELU", (0,), (1,)), Node(1, "QUANTIZE", (1,), (2,)))
    run = emulate(Graph("g", tensors, nodes, (0,), (2,)), REF, [np.ones((3, 2), np.float32)])
    assert run.promises == {0: "exact", 1: "float", 2: "float"}
    assert run.outputs[0] is not None
    assert run.outputs[0].shape == (3, 2)


def test_an_unreadable_constant_is_said_at_its_user() -> None:
    tensors = (tensor(0, (1, 2)), Tensor(1, "words", (1, 2), "string"), tensor(2, (2, 2)))
    graph = Graph("g", tensors, (Node(0, "CONCATENATION", (0, 1), (2,)),), (0,), (2,))
    (missing,) = emulate(graph, REF, [np.zeros((1, 2), np.int8)]).unknown
    assert "words" in missing.reason


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], ["0 inputs", "takes 1"]),
        ([sample().astype(np.float32)], ["input 0", "float32", "int8"]),
        ([sample()[:, :4]], ["input 0", "[1, 4, 5, 4]", "[n * 1, 5, 5, 4]"]),
        ([sample()[:0]], ["input 0", "[0, 5, 5, 4]"]),
    ],
)
def test_inputs_that_do_not_fit(inputs: list[Array], words: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        emulate(read_tflite(residual()).main, REF, inputs)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("op", "options", "shape"),
    [
        ("CONV_2D", {"stride_h": 0}, (1, 3, 3, 1)),
        ("CONV_2D", {"padding": "VALID"}, (1, 9, 9, 1)),
        ("CONV_2D", {}, (1, 3, 3, 7)),
        ("CONV_2D", {"dilation_h_factor": 1 << 30}, (1, 3, 3, 1)),
        ("DEPTHWISE_CONV_2D", {}, (3, 3, 3, 1)),
        ("FULLY_CONNECTED", {}, (1, 3)),
    ],
)
def test_a_graph_that_contradicts_itself(
    op: str, options: dict[str, object], shape: tuple[int, ...]
) -> None:
    weights = np.ones(shape, np.int8)
    tensors = (tensor(0, (1, 4, 4, 1)), tensor(1, shape, data=weights), tensor(2, (1, 4, 4, 1)))
    graph = Graph("g", tensors, (Node(0, op, (0, 1), (2,), options),), (0,), (2,))
    with pytest.raises(ModelError, match=rf"node 0 \({op}, 't2'\)"):
        emulate(graph, REF, [np.zeros((1, 4, 4, 1), np.int8)])


def test_a_result_larger_than_the_file_says_is_refused_before_it_is_made() -> None:
    weights = np.ones((1 << 12, 1), np.int8)
    tensors = (tensor(0, (1 << 20, 1)), tensor(1, (1 << 12, 1), data=weights), tensor(2, (1, 1)))
    graph = Graph("g", tensors, (Node(0, "FULLY_CONNECTED", (0, 1), (2,)),), (0,), (2,))
    with pytest.raises(ModelError, match=r"\[1048576, 4096\].*\[1, 1\]"):
        emulate(graph, REF, [np.zeros((1 << 20, 1), np.int8)])


def test_a_huge_result_is_refused_before_it_is_made() -> None:
    widths = np.full((2, 2), 1 << 20, np.int32)
    tensors = (tensor(0, (1, 1)), tensor(1, (2, 2), "int32", widths), tensor(2, (1, 1)))
    graph = Graph("g", tensors, (Node(0, "PAD", (0, 1), (2,)),), (0,), (2,))
    with pytest.raises(ModelError, match="allowed"):
        emulate(graph, REF, [np.zeros((1, 1), np.int8)])


def test_profiles_are_found_by_name_and_complete() -> None:
    with pytest.raises(UsageError, match="litert-xnnpack-arm@cortex-a53"):
        get_profile("litert")
    for profile in PROFILES.values():
        assert get_profile(profile.name) is profile
        assert all(e.reference and (e.condition or not e.when) for e in profile.entries)
