"""Verify against the real runtime on this host, under profiles that are right and wrong."""

import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm.transports import connect
from harness.arithmetic.profile import ArithmeticProfile, Evidence
from harness.device import Device
from harness.emulator.all_tensors import expose
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.profiles import get_profile
from harness.errors import ModelError, UsageError
from harness.verify.random_inputs import EXTREMES, random_inputs
from harness.verify.verification import VerifyReport, verify
from targets.runner import PYTHON
from tests.oracle.build import Builder, Quant, options, per_tensor
from tests.oracle.control import branches, constant_outputs, running_sum, scalars
from tests.oracle.networks import RESIDUAL_TENSORS, residual

RIGHT = get_profile("litert-ref")


def with_conv(profile: ArithmeticProfile, **changes: object) -> ArithmeticProfile:
    """The profile with every entry for CONV_2D changed."""
    entries = tuple(
        replace(entry, **changes) if "CONV_2D" in entry.ops else entry  # type: ignore[arg-type]
        for entry in profile.entries
    )
    return replace(profile, entries=entries)


def run(
    tmp_path: Path, content: bytes, profile: ArithmeticProfile, signature: str | None = None
) -> VerifyReport:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    device = Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)
    with connect(device) as transport:
        return verify(
            path,
            PYTHON,
            transport,
            lambda _: profile,
            kernels="reference",
            seeds=(1, 2),
            signature=signature,
        )


def ties() -> bytes:
    """Two graphs; the second adds a quarter of x to itself, so that many sums are halves."""
    main = Builder()
    x, y = (main.tensor((1, 4), "int8", per_tensor(0.1)) for _ in range(2))
    main.op("RELU", [x], [y])
    second = main.subgraph()
    a, b = (second.tensor((4, 64), "int8", per_tensor(scale)) for scale in (0.25, 1.0))
    second.op("ADD", [a, a], [b], options("Add", potScaleInt16=False))
    return main.finish([x], [y], others=[(second, [a], [b])], signatures={"first": 0, "second": 1})


def test_the_right_profile_holds(tmp_path: Path) -> None:
    report = run(tmp_path, residual(), RIGHT)
    assert report.exit_code == 0
    assert report.invocations == 2 + EXTREMES
    assert [(row.op, row.nodes, row.promise) for row in report.rows] == [
        (op, 1, "exact") for op in RESIDUAL_TENSORS
    ]
    assert all(row.elements == 5 * 7 * 7 * 4 for row in report.rows)
    assert all(row.differing == row.max_lsb == 0 for row in report.rows)
    assert report.end_to_end.verdict == "exact"
    assert {one.tensor for one in report.nodes} == set(RESIDUAL_TENSORS.values())


def test_one_wrong_op_does_not_drown_the_others(tmp_path: Path) -> None:
    report = run(tmp_path, residual(), with_conv(RIGHT, semantics="S3:double"))
    assert report.exit_code == 1
    assert {row.op: row.differing > 0 for row in report.rows} == {
        "PAD": False,
        "CONV_2D": True,
        "ADD": False,
        "RELU": False,
    }
    assert [one.op for one in report.broken] == ["CONV_2D"]
    assert report.end_to_end.verdict == "differs"
    first = report.end_to_end.first_divergence
    assert first is not None
    assert first.tensor == RESIDUAL_TENSORS["CONV_2D"]
    last = report.end_to_end.outputs[0]
    assert last.differing  # end to end the error arrives


def test_an_assumed_entry_may_differ(tmp_path: Path) -> None:
    wrong = with_conv(RIGHT, semantics="S3:double", evidence=Evidence.ASSUMED)
    report = run(tmp_path, residual(), wrong)
    assert report.exit_code == 0
    row = next(row for row in report.rows if row.op == "CONV_2D")
    assert (row.promise, row.differing > 0) == ("assumed", True)
    assert report.end_to_end.verdict == "assumed"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
def test_what_is_made_of_constants_is_not_asked_of_the_runtime(tmp_path: Path) -> None:
    """XNNPACK folds dequantized weights and never writes the tensor."""
    builder = Builder()
    x = builder.tensor((1, 4, 4, 3), "float32")
    values = np.arange(8 * 3).reshape(8, 1, 1, 3)
    stored = builder.constant(values, "int8", Quant(tuple(2.0**-n for n in range(8)), (0,) * 8))
    weights = builder.tensor((8, 1, 1, 3), "float32")
    builder.op("DEQUANTIZE", [stored], [weights], options("Dequantize"))
    bias = builder.constant(np.zeros(8), "float32")
    y = builder.tensor((1, 4, 4, 8), "float32")
    strides = options("Conv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    builder.op("CONV_2D", [x, weights, bias], [y], strides)
    path = tmp_path / "model.tflite"
    path.write_bytes(builder.finish([x], [y]))
    device = Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)
    profile = get_profile("litert-xnnpack-x86")
    with connect(device) as transport:
        report = verify(path, PYTHON, transport, lambda _: profile, seeds=(1,))
    assert report.result.delegated
    assert [(row.op, row.promise, row.differing) for row in report.rows] == [
        ("CONV_2D", "float", 0)
    ]
    assert report.exit_code == 0


def test_an_op_without_an_entry_is_unknown_and_the_next_is_judged(tmp_path: Path) -> None:
    without = replace(RIGHT, entries=tuple(e for e in RIGHT.entries if "CONV_2D" not in e.ops))
    report = run(tmp_path, residual(), without)
    assert {row.op: row.promise for row in report.rows} == {
        "PAD": "exact",
        "CONV_2D": "unknown",
        "ADD": "exact",
        "RELU": "exact",
    }
    assert report.exit_code == 0
    assert report.end_to_end.verdict == "unknown"


@pytest.mark.parametrize(("signature", "op"), [("serve", "IF"), ("double", "ADD"), (None, "IF")])
def test_a_signature_chooses_the_graph(tmp_path: Path, signature: str | None, op: str) -> None:
    report = run(tmp_path, branches(), RIGHT, signature)
    assert [(row.op, row.promise, row.differing) for row in report.rows] == [(op, "exact", 0)]
    assert report.end_to_end.verdict == "exact"
    assert report.exit_code == 0


def test_a_signature_is_judged_by_its_own_graph(tmp_path: Path) -> None:
    entries = tuple(
        replace(entry, semantics="xnnpack") if "ADD" in entry.ops else entry
        for entry in RIGHT.entries
    )
    report = run(tmp_path, ties(), replace(RIGHT, entries=entries), "second")
    assert [(row.op, row.differing > 0) for row in report.rows] == [("ADD", True)]
    assert report.exit_code == 1


def test_a_signature_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'serve', 'double'"):
        run(tmp_path, branches(), RIGHT, "train")


@pytest.mark.parametrize("content", [b"", b"\0" * 100])
def test_a_broken_file_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match="model"):
        run(tmp_path, content, RIGHT)


def test_inputs_are_seeded_and_hold_the_extremes() -> None:
    graph = read_tflite(residual()).main
    (x,) = random_inputs(graph, (1, 2))
    assert x.shape == (5, 5, 5, 4)
    assert x.dtype == np.int8
    assert np.array_equal(random_inputs(graph, (1, 2))[0], x)
    assert not np.array_equal(x[0], x[1])
    assert [set(part.ravel().tolist()) for part in x[2:]] == [{-128}, {127}, {3}]
    assert (x.min(), x.max()) == (-128, 127)


def test_float_inputs_cover_what_they_are_quantized_to() -> None:
    builder = Builder()
    x = builder.tensor((1, 500), "float32")
    y = builder.tensor((1, 500), "int8", per_tensor(0.5, 28))
    builder.op("QUANTIZE", [x], [y], options("Quantize"))
    (values,) = random_inputs(read_tflite(builder.finish([x], [y])).main, (1,))
    low, high = 0.5 * (-128 - 28), 0.5 * (127 - 28)
    assert values.min() == pytest.approx(1.1 * low)
    assert values.max() == pytest.approx(1.1 * high)


def test_indices_stay_inside_their_table() -> None:
    builder = Builder()
    ids = builder.tensor((1, 64), "int32")
    table = builder.constant(np.zeros((7, 3)), "int8", per_tensor(0.5))
    rows = builder.tensor((1, 64, 3), "int8", per_tensor(0.5))
    builder.op("GATHER", [table, ids], [rows], options("Gather", axis=0))
    (values,) = random_inputs(read_tflite(builder.finish([ids], [rows])).main, (1,))
    assert set(values.ravel().tolist()) == set(range(7))


def test_what_is_read_from_a_variable_is_judged_by_what_was_assigned(tmp_path: Path) -> None:
    report = run(tmp_path, running_sum(), RIGHT)
    assert {row.op: (row.promise, row.differing) for row in report.rows} == {
        "READ_VARIABLE": ("exact", 0),
        "ADD": ("exact", 0),
    }
    assert report.end_to_end.verdict == "exact"


def test_constants_as_outputs_are_what_every_invocation_gives(tmp_path: Path) -> None:
    report = run(tmp_path, constant_outputs(), RIGHT)
    assert report.exit_code == 0
    assert report.end_to_end.verdict == "exact"
    elements = [one.elements for one in report.end_to_end.outputs]
    assert elements == [n * report.invocations for n in (3, 6, 1, 6, 2)]
    assert not any(one.differing or one.remark for one in report.end_to_end.outputs)


def test_inputs_of_rank_0_are_one_value_for_each_invocation(tmp_path: Path) -> None:
    report = run(tmp_path, scalars(), RIGHT)
    assert report.exit_code == 0
    assert {row.op: (row.promise, row.differing) for row in report.rows} == {
        "IF": ("exact", 0),
        "SUB": ("exact", 0),
    }
    assert report.end_to_end.verdict == "exact"


def sized(op: str) -> bytes:
    """An op whose output is as large as the data says, and RELU beside it."""
    builder = Builder()
    quant = per_tensor(0.1)
    x, y = (builder.tensor((1, 4), "int8", quant) for _ in range(2))
    builder.op("RELU", [x], [y])
    if op == "WHERE":
        places = builder.tensor((0, 2), "int64")
        builder.op("WHERE", [x], [places], options("Where"))
    elif op == "RESHAPE":
        size, places = builder.tensor((2,), "int32"), builder.tensor((2, 2), "int8", quant)
        builder.op("RESHAPE", [y, size], [places], options("Reshape"))
        return builder.finish([x, size], [y, places])
    else:
        limit, places = builder.tensor((), "int32"), builder.tensor((1,), "int32")
        start, step = (builder.constant(np.int32(n), "int32") for n in (0, 1))
        builder.op("RANGE", [start, limit, step], [places], options("Range"))
        return builder.finish([x, limit], [y, places])
    return builder.finish([x], [y, places])


@pytest.mark.parametrize("op", ["WHERE", "RESHAPE", "RANGE"])
def test_a_size_that_depends_on_the_data_is_named(tmp_path: Path, op: str) -> None:
    with pytest.raises(ModelError, match=rf"of {op} \(node 1\) is depends on the data.*cut"):
        run(tmp_path, sized(op), RIGHT)


def test_a_size_that_is_made_of_sizes_is_none_of_the_data(tmp_path: Path) -> None:
    builder = Builder()
    quant = per_tensor(0.1)
    x, y = builder.tensor((2, 3), "int8", quant), builder.tensor((1, 6), "int8", quant)
    shape, size = builder.tensor((2,), "int32"), builder.tensor((2,), "int32")
    factors = builder.constant([0, 2], "int32")
    one = builder.constant([1, 0], "int32")
    scaled = builder.tensor((2,), "int32")
    builder.op("SHAPE", [x], [shape], options("Shape", outType=2))
    builder.op("MUL", [shape, factors], [scaled], options("Mul"))
    builder.op("ADD", [scaled, one], [size], options("Add"))
    builder.op("RESHAPE", [x, size], [y], options("Reshape"))
    report = run(tmp_path, builder.finish([x], [y]), RIGHT)
    assert report.end_to_end.verdict == "exact"


def without(profile: ArithmeticProfile, op: str) -> ArithmeticProfile:
    """The profile without an entry for an op."""
    return replace(profile, entries=tuple(e for e in profile.entries if op not in e.ops))


@pytest.mark.parametrize("op", ["CONV_2D", "RELU"])
def test_an_unknown_node_does_not_blind_what_follows(tmp_path: Path, op: str) -> None:
    report = run(tmp_path, residual(), without(RIGHT, op))
    assert report.end_to_end.verdict == "unknown"
    assert f"exact up to and beyond {op}" in report.end_to_end.reason
    assert "its output was taken from the device" in report.end_to_end.reason
    compared = [*report.end_to_end.outputs, *report.end_to_end.intermediates]
    found = {one.op: (one.promise, one.differing) for one in compared if one.op}
    assert found.pop(op) == ("unknown", None)
    assert set(found) == set(RESIDUAL_TENSORS) - {op}
    assert set(found.values()) == {("exact", 0)}


def test_what_differs_beyond_an_unknown_node_is_found(tmp_path: Path) -> None:
    report = run(tmp_path, residual(), without(with_conv(RIGHT, semantics="S3:double"), "PAD"))
    assert report.end_to_end.verdict == "differs"
    assert "CONV_2D" in report.end_to_end.reason


def test_a_constant_that_is_not_read_is_no_difference(tmp_path: Path) -> None:
    builder = Builder()
    x, y = builder.tensor((1, 4), "float32"), builder.tensor((1, 4), "float32")
    sparse, dense = builder.tensor((1, 4), "float32"), builder.tensor((1, 4), "float32")
    builder.op("DENSIFY", [sparse], [dense], options("Densify"))
    builder.op("ADD", [x, dense], [y], options("Add"))
    path = tmp_path / "sparse.tflite"
    path.write_bytes(builder.finish([x], [y]))
    exposed = expose(path, tmp_path)
    assert exposed.tensors == (y,)
