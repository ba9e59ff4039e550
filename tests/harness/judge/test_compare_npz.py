"""Two .npz files, array by array."""

from pathlib import Path

import numpy as np

from harness.judge.compare_npz import all_equal, compare_npz


def saved(path: Path, **arrays: object) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # any array-like
    return path


def test_equal_files_are_equal(tmp_path: Path) -> None:
    arrays = {"out0": np.arange(12, dtype=np.int8), "t3": np.ones((2, 2), np.float32)}
    found = compare_npz(saved(tmp_path / "a.npz", **arrays), saved(tmp_path / "b.npz", **arrays))
    assert [(one.name, one.promise, one.differing) for one in found] == [
        ("out0", "exact", 0),
        ("t3", "float", 0),
    ]
    assert all_equal(found)


def test_missing_extra_and_mismatched_arrays_are_reported(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.npz", only_a=np.zeros(3), both=np.zeros(2, "int8"), x=np.zeros(4))
    b = saved(tmp_path / "b.npz", both=np.zeros(2, "int16"), x=np.zeros(5), only_b=np.zeros(1))
    remarks = {one.name: one.remark for one in compare_npz(a, b)}
    assert remarks == {
        "only_a": f"not in {b}",
        "both": "dtype int16, expected int8",
        "x": "shape (5,), expected (4,)",
        "only_b": f"not in {a}",
    }
    assert not all_equal(compare_npz(a, b))


def test_a_float_difference_is_not_equal(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.npz", x=np.float32([1.0]))
    b = saved(tmp_path / "b.npz", x=np.nextafter(np.float32([1.0]), np.float32(2)))
    found = compare_npz(a, b)
    assert (found[0].differing, found[0].max_lsb) == (1, 1)
    assert not all_equal(found)
