"""Device against emulator: counts, histograms, verdicts, first divergence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.graph import Graph, Node, Quantization, Tensor
from harness.emulator.interpreter import Emulation, Undefined, emulate
from harness.emulator.profiles.litert_ref import LITERT_REF
from harness.host.wording import short_name
from harness.judge.compare import Array, compare, compare_tensor
from harness.records import HISTOGRAM_LIMIT, Divergence, Exactness, Promise

INTEGER_DTYPES = ("bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")


@given(st.data(), st.sampled_from(INTEGER_DTYPES))
def test_integers_are_counted_exactly(data: st.DataObject, dtype: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    expected = data.draw(hnp.arrays(dtype, shape))
    got = data.draw(st.one_of(st.just(expected), hnp.arrays(dtype, shape)))

    one = compare_tensor("x", expected, got, "exact")

    lsb = [
        int(b) - int(a)
        for a, b in zip(expected.reshape(-1).tolist(), got.reshape(-1).tolist(), strict=True)
    ]
    assert one.elements == len(lsb)
    assert one.differing == sum(step != 0 for step in lsb)
    assert one.max_lsb == max((abs(step) for step in lsb), default=0)
    gathered = [max(-HISTOGRAM_LIMIT, min(HISTOGRAM_LIMIT, step)) for step in lsb]
    assert dict(one.histogram) == {step: gathered.count(step) for step in gathered}
    assert [step for step, _ in one.histogram] == sorted({*gathered})
    if one.example is not None:
        flat = int(np.ravel_multi_index(one.example.index, expected.shape))
        assert lsb[flat] == one.example.got - one.example.expected
        assert not any(lsb[:flat])


@given(
    hnp.arrays(
        "int8", st.tuples(st.integers(2, 5), st.integers(2, 50)), elements=st.integers(0, 127)
    ),
    st.data(),
)
def test_planted_differences_are_found(expected: Array, data: st.DataObject) -> None:
    at = data.draw(st.sets(st.integers(0, expected.size - 1), min_size=1, max_size=8))
    steps = {i: data.draw(st.integers(1, 40).map(int.__neg__)) for i in at}
    got = expected.copy()
    for i, step in steps.items():
        got.reshape(-1)[i] += step

    one = compare_tensor("x", expected, got, "exact")

    first = np.unravel_index(min(at), expected.shape)
    assert one.differing == len(at)
    assert one.max_lsb == max(-step for step in steps.values())
    assert one.example == Divergence(
        tuple(int(i) for i in first), int(expected[first]), int(got[first])
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_measured_in_ulp(dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    one = np.ones(1, dtype)[0]
    expected = np.array([1.0, 1.0, 0.0, -0.0, -tiny, np.nan, np.inf, -1.0], dtype)
    got = np.array([1.0, np.nextafter(one, one * 2), -0.0, tiny, tiny, np.nan, np.inf, -1.0], dtype)

    found = compare_tensor("x", expected, got, "float")

    assert found.differing == 3
    assert found.histogram == ((0, 5), (1, 2), (2, 1))
    assert found.max_lsb == 2
    assert found.example is not None
    assert found.example.index == (1,)


def test_the_whole_range_of_floats_fits_the_distance() -> None:
    ends = np.array([np.finfo(np.float64).min, np.nan]), np.array([np.finfo(np.float64).max, 0.0])
    assert compare_tensor("x", *ends, "float").max_lsb == 2 * 0x7FEF_FFFF_FFFF_FFFF


@pytest.mark.parametrize(
    ("expected", "got", "remark"),
    [
        (np.zeros((2, 3), "int8"), np.zeros((3, 2), "int8"), "shape (3, 2), expected (2, 3)"),
        (np.zeros(2, "int8"), np.zeros(2, "uint8"), "dtype uint8, expected int8"),
        (np.zeros(2, "int8"), None, "the device has no such tensor"),
        (None, np.zeros(2, "int8"), "the emulator has no such tensor"),
        (np.array(["a"]), np.array(["b"]), "dtype <U1 cannot be compared"),
    ],
)
def test_what_cannot_be_compared_says_why(
    expected: Array | None, got: Array | None, remark: str
) -> None:
    one = compare_tensor("x", expected, got, "exact")
    assert one.differing is None
    assert one.remark == remark


def test_byte_order_is_not_a_difference() -> None:
    expected = np.array([1, -300], "<i4")
    assert compare_tensor("x", expected, expected.astype(">i4"), "exact").differing == 0
    assert compare_tensor("x", expected / 3, (expected / 3).astype(">f8"), "float").differing == 0


def test_names_are_told_short() -> None:
    assert short_name("conv/Relu6;a/b;c") == "conv/Relu6; …"
    assert short_name("x" * 100 + "conv") == "…" + "x" * 60 + "conv"
    path = "wrapped/" * 12 + "torch.nn.modules.container.Sequential_body/torch.nn.Conv2d_4"
    assert short_name(path) == "…/torch.nn.modules.container.Sequential_body/torch.nn.Conv2d_4"
    assert short_name("out") == "out"


# A graph of three nodes: 0 CONV_2D makes 1; 1 LOGISTIC makes 2; 2 ADD of both makes 3.
GRAPH = Graph(
    "main",
    tuple(Tensor(i, name, (1, 4), "int8") for i, name in enumerate(("in", "conv", "sig", "out"))),
    (
        Node(0, "CONV_2D", (0,), (1,)),
        Node(1, "LOGISTIC", (1,), (2,)),
        Node(2, "ADD", (1, 2), (3,)),
    ),
    inputs=(0,),
    outputs=(3,),
)
VALUES = {i: np.arange(4, dtype=np.int8).reshape(1, 4) + i for i in range(4)}
EXACT: dict[int, Promise] = dict.fromkeys(range(4), "exact")


PROFILE = ArithmeticProfile("p", "", ())


def emulation(
    promises: dict[int, Promise],
    values: dict[int, Array] | None = None,
    unknown: tuple[Undefined, ...] = (),
) -> Emulation:
    known = VALUES if values is None else values
    return Emulation((known.get(3),), known, promises, unknown)


def compared(got: dict[int, Array], promises: dict[int, Promise] | None = None) -> Exactness:
    return compare(GRAPH, emulation(promises or EXACT), got, profile=PROFILE)


def changed(tensor: int, step: int = 1) -> dict[int, Array]:
    got = {i: x.copy() for i, x in VALUES.items()}
    got[tensor][0, 2] += step
    return got


def test_equal_and_promised_is_exact() -> None:
    found = compared(VALUES)
    assert (found.verdict, found.reason, found.first_divergence) == ("exact", "", None)
    assert [one.name for one in found.outputs] == ["out"]
    assert [(one.name, one.node, one.op) for one in found.intermediates] == [
        ("in", None, None),
        ("conv", 0, "CONV_2D"),
        ("sig", 1, "LOGISTIC"),
    ]


def test_only_outputs_are_needed() -> None:
    found = compared({3: VALUES[3]})
    assert found.verdict == "exact"
    assert found.intermediates == ()


def test_first_divergence_is_first_in_execution_order() -> None:
    got = changed(3, 5)
    got[2][0, 1] -= 2
    found = compared(got)
    assert found.verdict == "differs"
    first = found.first_divergence
    assert first is not None
    assert (first.name, first.node, first.op, first.tensor) == ("sig", 1, "LOGISTIC", 2)
    assert first.example == Divergence((0, 1), expected=3, got=1)
    assert first in found.intermediates
    assert found.outputs[0].example == Divergence((0, 2), expected=5, got=10)
    assert found.reason == (
        "tensor 'sig' (node 1, LOGISTIC) is promised exact, but 1 of 4 elements differ"
    )


def test_a_broken_promise_of_an_intermediate_is_not_hidden_by_equal_outputs() -> None:
    found = compared(changed(1))
    assert found.outputs[0].differing == 0
    assert found.verdict == "differs"


@pytest.mark.parametrize("differs", [False, True])
def test_an_assumed_entry_never_gives_exact(differs: bool) -> None:
    promises = EXACT | {2: "assumed", 3: "assumed"}
    found = compared(changed(3) if differs else VALUES, promises)
    assert found.verdict == "assumed"
    assert found.reason == (
        "profile p assumes the arithmetic of LOGISTIC (node 1, 'sig'); "
        f"{int(differs)} of 4 output elements differ"
    )
    assert (found.first_divergence is not None) == differs


PARTLY: dict[int, Promise] = {0: "exact", 1: "exact", 2: "unknown", 3: "unknown"}
STOPPED = emulation(
    PARTLY,
    {0: VALUES[0], 1: VALUES[1]},
    (Undefined(1, "LOGISTIC", "sig", "profile p has no entry for it"),),
)


def test_an_op_without_an_entry_is_unknown_and_named() -> None:
    found = compare(GRAPH, STOPPED, VALUES, profile=PROFILE)
    assert found.verdict == "unknown"
    assert found.reason == "LOGISTIC (node 1, 'sig'): profile p has no entry for it"
    assert found.outputs[0].differing is None


def test_values_without_a_promise_are_not_compared() -> None:
    found = compared(changed(3), PARTLY)
    assert found.verdict == "unknown"
    assert found.outputs[0].differing is None
    assert found.first_divergence is None


def test_a_device_that_is_wrong_before_the_unknown_op_differs() -> None:
    assert compare(GRAPH, STOPPED, changed(1), profile=PROFILE).verdict == "differs"


def test_float_differences_do_not_decide() -> None:
    found = compared(changed(3), EXACT | {2: "float", 3: "float"})
    assert found.verdict == "float"
    assert found.first_divergence is None
    assert "LOGISTIC (node 1, 'sig')" in found.reason


@pytest.mark.parametrize("promise", ["exact", "assumed", "float"])
def test_another_shape_differs_whatever_is_promised(promise: Promise) -> None:
    found = compared(VALUES | {3: VALUES[3][:, :3]}, EXACT | {3: promise})
    assert found.verdict == "differs"
    assert found.reason == "tensor 'out' (node 2, ADD) has shape (1, 3), expected (1, 4)"
    assert found.first_divergence == found.outputs[0]


def test_an_output_that_the_device_did_not_give_is_unknown() -> None:
    found = compared({0: VALUES[0]})
    assert found.verdict == "unknown"
    assert found.reason == (
        "tensor 'out' (node 2, ADD) was not compared: the device has no such tensor"
    )


def test_no_outputs_is_not_exact() -> None:
    empty = Graph("main", (), (), (), ())
    assert compare(empty, Emulation(()), {}, profile=PROFILE).verdict == "unknown"


def test_an_output_that_is_an_input_is_compared() -> None:
    through = Graph("main", GRAPH.tensors, (), (0,), (0,))
    emulated = Emulation((VALUES[0],), {}, {0: "exact"})
    assert compare(through, emulated, VALUES, profile=PROFILE).verdict == "exact"
    assert compare(through, emulated, changed(0), profile=PROFILE).verdict == "differs"


def test_an_output_that_is_a_constant_is_compared() -> None:
    constant = Graph("main", GRAPH.tensors, (), (), (0,))
    emulated = Emulation((VALUES[0],))
    assert compare(constant, emulated, VALUES, profile=PROFILE).verdict == "exact"
    assert compare(constant, emulated, changed(0), profile=PROFILE).verdict == "differs"


def scaled(*scales: float) -> Quantization:
    return Quantization(np.array(scales, np.float32), np.zeros(len(scales), np.int64))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_accumulator_behind_the_first_difference_is_told(batch: int) -> None:
    random = np.random.default_rng(0)
    weights = random.integers(-90, 90, (4, 5), dtype=np.int8)
    bias = random.integers(-500, 500, 4, dtype=np.int32)
    dense = Graph(
        "main",
        (
            Tensor(0, "in", (batch, 5), "int8", scaled(0.1)),
            Tensor(1, "w", (4, 5), "int8", scaled(0.02), weights),
            Tensor(2, "b", (4,), "int32", scaled(0.002), bias),
            Tensor(3, "out", (batch, 4), "int8", scaled(0.5)),
        ),
        (Node(0, "FULLY_CONNECTED", (0, 1, 2), (3,), {"fused_activation_function": "NONE"}),),
        (0,),
        (3,),
    )
    x = random.integers(-100, 100, (6, 5), dtype=np.int8)
    emulated = emulate(dense, LITERT_REF, (x,), all_tensors=True)
    got = emulated.tensors[3].copy()
    got[4, 2] ^= 1

    found = compare(dense, emulated, {3: got}, profile=LITERT_REF)

    assert found.verdict == "differs"
    assert found.first_divergence is not None
    assert found.first_divergence.example == Divergence(
        (4, 2),
        int(emulated.tensors[3][4, 2]),
        int(got[4, 2]),
        accumulator=int(x[4].astype(int) @ weights[2].astype(int) + bias[2]),
    )
    # Without the tensors inside there is no accumulator, and the rest is the same.
    outputs_only = emulate(dense, LITERT_REF, (x,))
    first = compare(dense, outputs_only, {3: got}, profile=LITERT_REF).first_divergence
    assert first is not None
    assert first.example is not None
    assert first.example.accumulator is None
