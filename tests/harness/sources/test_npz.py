"""Reading .npz files that nobody vouches for."""

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.sources.npz import read_npz


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00junk"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.npz"):
        read_npz(path)


@pytest.mark.parametrize("shape", ["((3,), }", "(3,), ", "('3',), }", "(3, [),}", "(3\\"])
def test_a_header_that_is_no_python_is_named(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}\n".encode()
    path = tmp_path / "broken.npz"
    with zipfile.ZipFile(path, "w") as archive:
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("x.npy", magic + header + bytes(3))
    with pytest.raises(UsageError, match=r"broken\.npz.*broken"):
        read_npz(path)


def test_a_single_array_and_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UsageError, match=r"one\.npy: not an \.npz file"):
        read_npz(tmp_path / "one.npy")
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match="no pickles"):
        read_npz(tmp_path / "pickle.npz")


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 62, 1 << 62), (-5, 3)])
def test_an_array_larger_than_its_file_is_refused_before_memory_is_taken(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "claims.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in0.npy", header.getvalue() + bytes(12))
    with pytest.raises(UsageError, match=r"claims\.npz: array 'in0\.npy': .*does not fit"):
        read_npz(path)


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, in0=np.zeros(1 << 20, np.uint8))
    assert path.stat().st_size < 4096
    with pytest.raises(UsageError, match=r"bomb\.npz: unpacks to \d+ bytes in 1 arrays; allowed"):
        read_npz(path, max_bytes=1 << 19)


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.npz: cannot be read"):
        read_npz(tmp_path / "absent.npz")


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
    with contextlib.suppress(UsageError):
        read_npz(path)
