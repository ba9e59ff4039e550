"""The split: deterministic, apart, fair to classes, groups whole."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.sources.dataset import Dataset
from harness.sources.split import MOST_TUNING, split


def dataset(count: int, **columns: object) -> Dataset:
    """Sample i holds the value i."""
    return Dataset((np.arange(count, dtype=np.float32)[:, None],), **columns)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=2, max_size=80),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
)
def test_parts_are_apart_and_groups_are_whole(
    rows: list[tuple[int, int]], wanted: int, labelled: bool, grouped: bool
) -> None:
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    data = dataset(
        len(rows), labels=labels if labelled else None, groups=groups if grouped else None
    )
    parts = split(data, wanted)
    calibration, evaluation = (
        part[0][:, 0].astype(int).tolist() for part in (parts.calibration, parts.evaluation)
    )
    assert calibration
    assert evaluation
    if grouped and len(set(groups.tolist())) == 1:
        assert "overlap" in parts.notes[-1]
        assert evaluation == list(range(len(rows)))
        return
    assert sorted(calibration + evaluation) == list(range(len(rows)))
    assert parts.notes == ()
    if grouped:
        assert not set(groups[calibration].tolist()) & set(groups[evaluation].tolist())
    else:
        assert len(calibration) <= max(1, min(wanted, len(rows) // 3))
    if labelled:
        assert parts.labels is not None
        assert parts.labels.tolist() == labels[evaluation].tolist()
    again = split(data, wanted)
    np.testing.assert_array_equal(again.calibration[0], parts.calibration[0])


def test_classes_are_dealt_in_turn() -> None:
    labels = np.array([0] * 80 + [1] * 15 + [2] * 5)
    parts = split(dataset(100, labels=labels), 15)
    chosen = labels[parts.calibration[0][:, 0].astype(int)]
    assert Counter(chosen.tolist()) == {0: 5, 1: 5, 2: 5}


def test_a_single_sample_serves_for_both_and_a_note_says_so() -> None:
    parts = split(dataset(1))
    assert len(parts.calibration[0]) == len(parts.evaluation[0]) == 1
    assert "overlap" in parts.notes[0]


def test_samples_meant_for_calibration_leave_all_others_to_evaluation() -> None:
    extra = (np.full((9, 1), -1, np.float32),)
    parts = split(dataset(6, calibration=extra, labels=np.arange(6), notes=("n",)), 4)
    assert parts.calibration[0].tolist() == [[-1]] * 4
    assert parts.evaluation[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert parts.notes == ("n",)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=3, max_size=80),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_tuning_is_apart_from_all_else_and_has_its_labels(
    rows: list[tuple[int, int]], wanted: int, labelled: bool, grouped: bool, own: bool
) -> None:
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    data = dataset(
        len(rows),
        labels=labels if labelled else None,
        groups=groups if grouped else None,
        calibration=(np.full((3, 1), -1, np.float32),) if own else None,
    )
    if grouped and len(set(groups.tolist())) < (2 if own else 3):
        with pytest.raises(UsageError, match="too few to choose a recipe by"):
            split(data, wanted, tuning=True)
        return
    plain, parts = split(data, wanted), split(data, wanted, tuning=True)
    np.testing.assert_array_equal(parts.calibration[0], plain.calibration[0])
    tuning, evaluation, before = (
        part[0][:, 0].astype(int).tolist()
        for part in (parts.tuning, parts.evaluation, plain.evaluation)
    )
    assert tuning
    assert evaluation
    assert sorted(tuning + evaluation) == before, "taken from what is evaluated otherwise"
    assert plain.tuning == ()
    if grouped:
        assert not set(groups[tuning].tolist()) & set(groups[evaluation].tolist())
    else:
        assert len(tuning) == max(1, len(before) // 2)
    if labelled:
        assert parts.labels is not None
        assert parts.tuning_labels is not None
        assert parts.labels.tolist() == labels[evaluation].tolist()
        assert parts.tuning_labels.tolist() == labels[tuning].tolist()
    else:
        assert parts.tuning_labels is None


def test_tuning_takes_no_more_than_it_needs_and_all_classes() -> None:
    labels = np.arange(3000) % 10
    parts = split(dataset(3000, labels=labels), tuning=True)
    assert len(parts.tuning[0]) == MOST_TUNING
    assert parts.tuning_labels is not None
    counts = Counter(parts.tuning_labels.tolist())
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_digest_is_of_samples_labels_and_groups() -> None:
    """And not of what was noted."""
    one = dataset(4, labels=np.arange(4))
    assert one.digest() == dataset(4, labels=np.arange(4), notes=("n",)).digest()
    others = [
        dataset(4),
        dataset(5, labels=np.arange(5)),
        dataset(4, labels=np.arange(4)[::-1]),
        dataset(4, groups=np.arange(4)),
        dataset(4, groups=np.array(list("aabb"))),
        dataset(4, labels=np.arange(4), calibration=(np.ones((1, 1), np.float32),)),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 7
