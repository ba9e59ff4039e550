"""Classification scores and their intervals."""

import numpy as np
import pytest

from harness.accuracy import Array, accuracy_of, wilson
from harness.errors import ModelError


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
    found = accuracy_of(logits.reshape(4, 1, 1, 8), labels=labels, float_logits=float_logits)
    assert found is not None
    assert found.samples == 4
    assert found.top1 == wilson(2, 4)
    assert found.top5 == wilson(2, 4)  # class 5 is sixth: the zeros before it come first
    assert found.float_top1 == wilson(3, 4)
    assert found.agreement == wilson(3, 4)


def test_equal_scores_go_to_the_lower_class() -> None:
    logits = np.array([[7, 7, 0]], np.int8)
    for label, hits in ((0, 1), (1, 0)):
        found = accuracy_of(logits, labels=np.array([label]))
        assert found is not None
        assert found.top1 == wilson(hits, 1)


def test_nan_never_wins() -> None:
    logits = np.array([[np.nan, 1.0], [np.nan, np.nan], [1.0, np.nan]])
    found = accuracy_of(logits, labels=np.array([1, 0, 1]), float_logits=logits)
    assert found is not None
    assert found.top1 == wilson(1, 3)
    assert found.agreement == wilson(2, 3)


def test_few_classes_have_no_top5() -> None:
    found = accuracy_of(np.eye(5), labels=np.arange(5))
    assert found is not None
    assert found.top1 == wilson(5, 5)
    assert found.top5 is None


def test_without_labels_there_is_agreement_only() -> None:
    found = accuracy_of(np.eye(6), float_logits=np.eye(6))
    assert found is not None
    assert (found.top1, found.top5, found.float_top1) == (None, None, None)
    assert found.agreement == wilson(6, 6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (0, 4), (2, 3, 4)])
def test_what_is_not_a_classification_has_no_accuracy(shape: tuple[int, ...]) -> None:
    assert accuracy_of(np.zeros(shape), labels=np.zeros(shape[0], int)) is None
    assert accuracy_of(np.eye(4)) is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), "one for each of 3 samples"),
        (np.array([0.0, 1.0, 2.0]), "float64"),
        (np.array([0, 3, 1]), "class 3 of sample 1 is outside the model's 3 classes"),
        (np.array([0, -1, 1]), "class -1 of sample 1"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: Array, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        accuracy_of(np.eye(3), labels=labels)


def test_float_logits_of_another_shape_are_named() -> None:
    with pytest.raises(ModelError, match=r"\(3, 4\)"):
        accuracy_of(np.eye(3), float_logits=np.zeros((3, 4)))
