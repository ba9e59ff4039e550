"""Classification scores and their intervals."""

import numpy as np
import pytest

from harness.errors import ModelError, UsageError
from harness.judge.accuracy import Array, accuracy_of, paired_drop, wilson


@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_against_known_values(hits: int, samples: int, low: float, high: float) -> None:
    share = wilson(hits, samples)
    assert share.value == hits / samples
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_top1_top5_and_agreement() -> None:
    logits = np.eye(8, dtype=np.int8)[[0, 1, 2, 3]] * 100
    logits[:, 7] = -1  # below the zeros of the others
    float_logits = np.eye(8, dtype=np.float32)[[0, 1, 2, 7]]
    labels = np.array([0, 1, 5, 7])
    found = accuracy_of([logits.reshape(4, 1, 1, 8)], 4, labels=labels, in_float=[float_logits])
    assert found is not None
    assert found.samples == 4
    assert found.top1 == wilson(2, 4)
    assert found.top5 == wilson(2, 4)  # class 5 is sixth: the zeros before it come first
    assert found.float_top1 == wilson(3, 4)
    assert found.agreement == wilson(3, 4)


def test_equal_scores_go_to_the_lower_class() -> None:
    logits = np.array([[7, 7, 0]], np.int8)
    for label, hits in ((0, 1), (1, 0)):
        found = accuracy_of([logits], 1, labels=np.array([label]))
        assert found is not None
        assert found.top1 == wilson(hits, 1)


def test_nan_never_wins() -> None:
    logits = np.array([[np.nan, 1.0], [np.nan, np.nan], [1.0, np.nan]])
    found = accuracy_of([logits], 3, labels=np.array([1, 0, 1]), in_float=[logits])
    assert found is not None
    assert found.top1 == wilson(1, 3)
    assert found.agreement == wilson(2, 3)


def test_few_classes_have_no_top5() -> None:
    found = accuracy_of([np.eye(5)], 5, labels=np.arange(5))
    assert found is not None
    assert found.top1 == wilson(5, 5)
    assert found.top5 is None


def test_without_labels_there_is_agreement_only() -> None:
    found = accuracy_of([np.eye(6)], 6, in_float=[np.eye(6)])
    assert found is not None
    assert (found.top1, found.top5, found.float_top1) == (None, None, None)
    assert found.agreement == wilson(6, 6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (0, 4), (2, 3, 4)])
def test_without_labels_one_value_a_sample_or_a_map_has_no_accuracy(shape: tuple[int, ...]) -> None:
    assert accuracy_of([np.zeros(shape)], shape[0], in_float=[np.zeros(shape)]) is None
    assert accuracy_of([np.eye(4)], 4) is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), "one for each of 3 samples"),
        (np.array([0.0, 1.0, 2.0]), "float64"),
        (np.array([0, 3, 1]), "class 3 of sample 1 is outside the model's 3 classes"),
        (np.array([0, -1, 1]), "class -1 of sample 1"),
        (np.zeros((3, 4), int), "4 for each sample; only one class"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: Array, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        accuracy_of([np.eye(3)], 3, labels=labels)


def test_float_logits_of_another_shape_are_named() -> None:
    with pytest.raises(ModelError, match=r"\(3, 4\)"):
        accuracy_of([np.eye(3)], 3, in_float=[np.zeros((3, 4))])


def test_of_two_outputs_the_one_that_fits_the_labels_is_scored() -> None:
    embedding, logits = np.eye(32, dtype=np.float32)[:10], np.eye(10, dtype=np.float32)
    found = accuracy_of([embedding, logits], 10, labels=np.arange(10), names=["e", "logits"])
    assert found is not None
    assert found.top1 == wilson(10, 10)
    assert found.scored == "output 1 of 2, 'logits': 10 classes"


def test_one_column_is_a_binary_classifier_and_the_float_range_says_where_it_cuts() -> None:
    labels = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.2], [0.7], [0.4], [0.6]], np.float32)
    found = accuracy_of([probabilities], 4, labels=labels, in_float=[probabilities])
    assert found is not None
    assert found.top1 == wilson(2, 4)
    assert found.scored.endswith("above 0.5, because all values are from 0 to 1")
    logits = np.array([-3.0, 0.2, 0.1, np.nan], np.float32)  # NaN is no class at all
    found = accuracy_of([logits], 4, labels=labels, in_float=[np.array([-3, 0.2, -0.1, -1])])
    assert found is not None
    assert (found.top1, found.float_top1) == (wilson(3, 4), wilson(3, 4))
    assert found.agreement == wilson(2, 4)
    assert found.scored.endswith("above 0, because not all values are from 0 to 1")


def test_an_integer_may_be_the_class_itself() -> None:
    chosen = np.array([3, 700, 2], np.int64)
    found = accuracy_of([chosen], 3, labels=np.array([3, 700, 1]), in_float=[chosen])
    assert found is not None
    assert (found.top1, found.agreement) == (wilson(2, 3), wilson(3, 3))


def test_a_flip_between_near_equals_is_no_clear_disagreement() -> None:
    in_float = np.array([[10, 9.9, 0], [10, 9.9, 0], [10, 0, 0]], np.float32)
    device = np.array([[10, 0, 0], [9, 10, 0], [0, 0, 10]], np.float32)
    found = accuracy_of([device], 3, in_float=[in_float])
    assert found is not None
    assert (found.agreement, found.near_agreement) == (wilson(1, 3), wilson(2, 3))


def test_the_paired_drop_against_known_values() -> None:
    # A. Agresti and Y. Min, Statistics in Medicine 24 (2005): a half is added to each cell.
    device = np.array([False] * 10 + [True] * 2 + [True] * 88)
    in_float = np.array([True] * 10 + [False] * 2 + [True] * 88)
    drop = paired_drop(device, in_float)
    middle = (10.5 - 2.5) / 102
    half = 1.959964 * (13 - 8**2 / 102) ** 0.5 / 102
    assert drop.value == pytest.approx(0.08)
    assert (drop.low, drop.high) == pytest.approx((middle - half, middle + half))
    few = paired_drop(np.zeros(2, bool), np.ones(2, bool))
    assert few.low < 0.02  # two samples accuse nobody
