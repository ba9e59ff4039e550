"""Two .npz files, array by array."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.compare_npz import all_equal, compare_npz, read_npz
from harness.errors import ModelError


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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00junk", None])
def test_broken_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.npz"):
        read_npz(path)


def test_a_single_array_and_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"expected an \.npz with named arrays"):
        read_npz(tmp_path / "one.npy")
    with pytest.raises(ModelError, match=r"not a readable \.npz"):
        read_npz(saved(tmp_path / "pickle.npz", x=np.array([{}], dtype=object)))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_a_model_error_or_reads(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(20, dtype=np.int8), b=np.ones((3, 3)))
    content = bytearray(path.read_bytes())
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1)
    ):
        content[at] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ModelError):
        read_npz(path)
