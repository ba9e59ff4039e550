"""The split: deterministic, apart, fair to classes, groups whole."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.sources.dataset import Dataset
from harness.sources.split import split


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
