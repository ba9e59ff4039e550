"""DATA references: what is read, and what is refused before any conversion starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.model import Model, ModelInput
from harness.sources.batches import find_batch
from harness.sources.data import check, from_arrays, load_data
from harness.sources.dataset import Dataset

VECTOR = Model("m", "m", "0" * 64, (ModelInput((1, 3), "float32"),))
TWO = Model("m", "m", "0" * 64, (ModelInput((1, 3), "float32"), ModelInput((1, 2, 2), "int32")))
QUANTIZED = Model("m", "m", "0" * 64, (ModelInput((1, 3), "int8", quantized=True),), quantized=True)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))


def test_an_npz_gives_inputs_labels_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x, index = np.ones((5, 3)), np.arange(20).reshape(5, 2, 2)
    np.savez(path, in1=index, in0=x, labels=np.arange(5), groups=np.array(list("aabbc")))
    data = load_data(str(path), TWO)
    assert [array.dtype for array in data.inputs] == [np.float32, np.int32]
    np.testing.assert_array_equal(data.inputs[1], index)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.groups is not None
    assert data.groups.tolist() == list("aabbc")


def test_a_single_input_may_have_any_name() -> None:
    assert len(from_arrays({"inputs": np.ones((5, 3)), "labels": np.arange(5)}, "x").inputs) == 1


@pytest.mark.parametrize("names", [("in0", "in2"), ("a", "b"), (), ("labels",)])
def test_names_that_leave_the_inputs_open_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="expected in0, in1, …"):
        from_arrays({name: np.ones((5, 3)) for name in names}, "x.npz")


def with_value(value: float) -> Any:
    x = np.zeros((5, 3), np.float32)
    x[3, 1] = value
    return x


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((with_value(np.nan),), r"in0: sample 3, element \(1,\): nan; allowed: finite"),
        ((with_value(-np.inf),), r"in0: sample 3, element \(1,\): -inf"),
        ((np.zeros((5, 4), "f4"),), r"in0: each sample has shape \(4,\), the model takes \(3,\)"),
        ((np.zeros((3,), "f4"),), r"in0: each sample has shape \(\), the model takes \(3,\)"),
        ((np.float32(3),), r"in0: each sample has shape \(\)"),
        ((np.zeros((5, 3), np.uint8),), "in0: dtype is uint8; allowed: float32 or float"),
        ((np.zeros((5, 3), complex),), "in0: dtype is complex128"),
        ((np.zeros((0, 3), "f4"),), "numbers of samples are 0"),
        ((np.zeros((5, 3), "f4"),) * 2, "has 2 inputs, the model m takes 1"),
    ],
)
def test_wrong_samples_are_named(inputs: tuple[Any, ...], message: str) -> None:
    arrays = tuple(np.asarray(x) for x in inputs)
    with pytest.raises(UsageError, match=message):
        check(Dataset(arrays), VECTOR, "x.npz")
    right = (np.zeros((5, 3), np.float32),)
    with pytest.raises(UsageError, match=r"x\.npz \(calibration\): " + message):
        check(Dataset(right, calibration=arrays), VECTOR, "x.npz")


def test_integers_must_fit_the_models_dtype() -> None:
    x = np.zeros((1, 3), np.float32)
    big = np.full((1, 2, 2), 1 << 40)
    fits = (
        r"in1: sample 0, element \(0, 0\): 1099511627776 does not fit int32; allowed: -2147483648"
    )
    with pytest.raises(UsageError, match=fits):
        check(Dataset((x, big)), TWO, "x")
    with pytest.raises(UsageError, match="in1: dtype is float64; allowed: int32"):
        check(Dataset((x, np.zeros((1, 2, 2)))), TWO, "x")
    with pytest.raises(UsageError, match="numbers of samples are 3, 2"):
        check(Dataset((np.zeros((3, 3), "f4"), np.zeros((2, 2, 2), np.int32))), TWO, "x")
    booleans = check(Dataset((x, np.ones((1, 2, 2), bool))), TWO, "x").inputs[1]
    assert booleans.dtype == np.int32
    mask = Model("m", "m", "", (ModelInput((1, 3), "bool"),))
    assert check(Dataset((np.array([[0, 1, 1]]),)), mask, "x").inputs[0].dtype == np.bool_
    with pytest.raises(UsageError, match="2 does not fit bool; allowed: 0 and 1"):
        check(Dataset((np.array([[0, 1, 2]]),)), mask, "x")


def test_an_input_that_is_no_batch_is_whole_and_noted() -> None:
    x, table = np.zeros((5, 3), np.float32), np.ones((2, 4), np.float32)
    model = Model(
        "m",
        "m",
        "",
        (
            ModelInput((1, 3), "float32"),
            ModelInput((2, 4), "float32", batched=False, name="table"),
            ModelInput((), "float32", batched=False),
        ),
    )
    data = check(Dataset((x, table, np.array(3, np.float32))), model, "x")
    assert [array.shape for array in data.inputs] == [(5, 3), (1, 2, 4), (1,)]
    assert data.notes == (
        "in1 (table) of shape (2, 4) is given whole, one for all samples: it is no batch",
        "in2 of shape () is given whole, one for all samples: it is no batch",
    )
    each = (x, np.concatenate([table] * 5), np.arange(5.0))
    data = check(Dataset(each), model, "x")
    assert [array.shape for array in data.inputs] == [(5, 3), (5, 2, 4), (5,)]
    assert "one for each sample" in data.notes[0]
    assert check(Dataset((x, each[1].reshape(5, 2, 4), np.ones(1))), model, "x").inputs[1].ndim == 3
    for wrong, message in (
        (np.ones((3, 4), "f4"), "has 3 rows, the model takes 2 at once"),
        (np.ones((8, 4), "f4"), "numbers of samples are 5, 8, 1"),
        (np.ones((2, 5), "f4"), r"the model takes \(4,\)"),
    ):
        with pytest.raises(UsageError, match=message):
            check(Dataset((x, wrong, np.ones(1))), model, "x")


def test_a_batch_of_the_models_own_shape_beside_more_samples_is_whole() -> None:
    both = (ModelInput((2, 3), "float32"), ModelInput((2, 4), "float32"))
    model = Model("m", "m", "", both)
    x, mask = np.zeros((5, 3), np.float32), np.ones((2, 4), np.float32)
    assert check(Dataset((x, mask)), model, "x").inputs[1].shape == (1, 2, 4)
    assert check(Dataset((x[:2], mask)), model, "x").inputs[1].shape == (2, 4)
    bias = Model("m", "m", "", (both[0], ModelInput((3,), "float32", batched=False)))
    with pytest.raises(UsageError, match=r"once for all of them: give it as \(3,\)"):
        check(Dataset((x[:4], np.zeros((4, 3), np.float32))), bias, "x")


def test_arrays_may_have_the_names_of_the_models_inputs(tmp_path: Path) -> None:
    named = Model(
        "m",
        "m",
        "",
        (ModelInput((1,), "int64", name="ids"), ModelInput((1,), "int64", name="mask")),
    )
    np.savez(tmp_path / "d.npz", mask=np.zeros(4, int), ids=np.arange(4), labels=np.arange(4))
    data = load_data(str(tmp_path / "d.npz"), named)
    assert data.inputs[0].tolist() == [0, 1, 2, 3]
    assert data.labels is not None


def test_the_batch_is_the_axis_that_inputs_and_outputs_share() -> None:
    assert find_batch([(1, 8), (8, 8)], [(1, 4)]) == 1
    assert find_batch([(8, 8), (1, 7)], [(1, 7, 8)]) == 1
    assert find_batch([(), (4, 8)], [(4, 10), ()]) == 4
    assert find_batch([(4, 8), (4,)], [()]) == 4  # a loss
    assert find_batch([(3, 32, 32)], [(10,)]) is None
    assert find_batch([(1, 224, 224, 3)], [(1000,)]) == 1
    assert find_batch([()], [()]) is None


def test_a_quantized_model_takes_floats_and_its_own_integers() -> None:
    x_q = np.full((2, 3), -128, np.int8)
    assert check(Dataset((x_q,)), QUANTIZED, "x").inputs[0].dtype == np.int8
    assert check(Dataset((np.ones((2, 3)),)), QUANTIZED, "x").inputs[0].dtype == np.float32
    with pytest.raises(UsageError, match="dtype is uint8; allowed: int8 or float"):
        check(Dataset((x_q.astype(np.uint8),)), QUANTIZED, "x")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"labels": np.arange(4)}, r"labels has shape \(4,\), expected \(5,\)"),
        ({"labels": np.zeros((5, 1), int)}, r"labels has shape \(5, 1\)"),
        ({"labels": np.zeros(5)}, "labels are float64, expected integers"),
        ({"labels": np.array([0, 1, -1, 0, 0])}, "labels, sample 2: -1 is < 0"),
        ({"groups": np.zeros(5)}, "groups are float64, expected integers or text"),
    ],
)
def test_wrong_columns_are_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(Dataset((np.zeros((5, 3), np.float32),), **columns), VECTOR, "x.npz")


SOURCE = """
import numpy as np
x = np.arange(12, dtype=np.float32).reshape(4, 3)
index = np.zeros((4, 2, 2), dtype=np.int32)
def arrays(): yield x[:3]; yield x[3:]
def pairs(): yield x[:3], [0, 1, 2]; yield x[3:], [3]
def dicts(): yield {"in0": x, "in1": index, "labels": np.arange(4), "groups": np.zeros(4, int)}
def several(): return [((x, index), np.arange(4))]
def nothing(): return []
def not_iterable(): return 3
def text(): yield "abc"
def triple(): yield x, x, x
def changing(): yield x, [0] * 4; yield x
def ragged(): yield x; yield x[:, :2]
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "batches.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("function", "model", "labels"),
    [
        ("arrays", VECTOR, None),
        ("pairs", VECTOR, [0, 1, 2, 3]),
        ("dicts", TWO, [0, 1, 2, 3]),
        ("several", TWO, [0, 1, 2, 3]),
    ],
)
def test_batches_of_a_function_are_joined(
    source: Path, function: str, model: Model, labels: list[int] | None
) -> None:
    data = load_data(f"{source}:{function}", model)
    np.testing.assert_array_equal(data.inputs[0], np.arange(12).reshape(4, 3))
    assert (None if data.labels is None else data.labels.tolist()) == labels
    assert (data.groups is not None) == (function == "dicts")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "yielded no batch"),
        ("not_iterable", "must yield batches, got int"),
        ("text", "in0: expected an array of samples"),
        ("triple", r"batch 0: a tuple of 3; expected \(inputs, labels\), one array, or a dict"),
        ("changing", "batch 1 has in0, those before it have in0, labels"),
        ("ragged", "batch 1: in0: each sample has shape"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_functions_that_yield_the_wrong_thing(source: Path, function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_data(f"{source}:{function}", VECTOR)


IMAGE = Model("m", "m", "0" * 64, (ModelInput((1, 3, 4, 6), "float32"),))


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (
            np.zeros((5, 4, 6, 3), "f4"),
            r"\(NHWC\).*np\.transpose\(x, \(0, 3, 1, 2\)\)",
        ),
        (np.zeros((5, 6, 4, 3), "f4"), r"np\.transpose\(x, \(0, 3, 2, 1\)\) gives"),
        (np.zeros((3, 4, 6), "f4"), r"one sample without .* x\[np\.newaxis\]"),
        (np.zeros((5, 72), "f4"), r"x\.reshape\(-1, 3, 4, 6\)"),
        (np.zeros((5, 1, 3, 4, 6), "f4"), r"axes of length 1 differ: x\.reshape\(-1, 3, 4, 6\)"),
        (np.zeros((5, 3, 4, 6), "u1"), r"0 to 255 must be scaled .*/ 255 - mean\) / std"),
    ],
)
def test_what_would_fit_is_said(array: Any, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        check(Dataset((array,)), IMAGE, "x.npz")


def test_a_model_of_channel_last_is_told_of_channel_first() -> None:
    model = Model("m", "m", "0" * 64, (ModelInput((1, 4, 6, 3), "float32"),))
    with pytest.raises(UsageError, match=r"channel-first \(NCHW\).*\(0, 2, 3, 1\)\) gives"):
        check(Dataset((np.zeros((5, 3, 4, 6), "f4"),)), model, "x.npz")


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.linspace(0, 1, 5), "leave labels out"),
        (np.eye(5, dtype=int), r"labels\.argmax\(axis=1\)"),
        (np.zeros((5, 1), int), r"labels\.reshape\(-1\)"),
        (np.zeros((5, 8, 8), int), "leave them out"),
    ],
)
def test_labels_that_are_no_classes_are_told_what_to_do(labels: Any, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        check(Dataset((np.zeros((5, 3), "f4"),), labels), VECTOR, "x.npz")


def test_batches_without_end_are_counted_and_refused(tmp_path: Path) -> None:
    source = tmp_path / "endless.py"
    source.write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    while True:\n"
        "        yield np.zeros((1, 3), 'float32')\n"
    )
    counted: list[int] = []
    with pytest.raises(UsageError, match=r"131073 batches .* no end; .*itertools\.islice"):
        load_data(f"{source}:batches", VECTOR, lambda _stage, done, _total: counted.append(done))
    assert counted[-1] > counted[1] == 1


def test_a_function_that_fails_is_the_callers_mistake(tmp_path: Path) -> None:
    source = tmp_path / "fails.py"
    source.write_text("def batches():\n    raise OSError('no scans here')\n    yield 0\n")
    with pytest.raises(UsageError, match="no scans here"):
        load_data(f"{source}:batches", VECTOR)
