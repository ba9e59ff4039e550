"""Compare two `.npz` files, array by array (``edgefarm compare a.npz b.npz``)."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.compare import Array, compare_tensor
from harness.errors import ModelError
from harness.records import TensorComparison

_BROKEN = (
    ValueError,  # not a numpy file, pickled objects, bad header, short data
    EOFError,
    KeyError,
    MemoryError,  # a header that claims more than there can be
    NotImplementedError,  # a compression method that Python lacks
    OverflowError,
    RuntimeError,  # an encrypted member
    SyntaxError,  # a header that is not Python
    zipfile.BadZipFile,
    zlib.error,
)


def compare_npz(expected: Path, got: Path) -> tuple[TensorComparison, ...]:
    """Compare the arrays of two files by name; one that is missing, or has another shape or
    dtype, says so in its remark.

    Raises:
        ModelError: a file cannot be read.
    """
    a, b = read_npz(expected), read_npz(got)
    comparisons = []
    for name in dict.fromkeys((*a, *b)):
        x, y = a.get(name), b.get(name)
        is_float = any(array is not None and array.dtype.kind == "f" for array in (x, y))
        one = compare_tensor(name, x, y, "float" if is_float else "exact")
        if x is None or y is None:
            file = expected if x is None else got
            one = TensorComparison(name, one.promise, one.elements, None, remark=f"not in {file}")
        comparisons.append(one)
    return tuple(comparisons)


def all_equal(comparisons: Sequence[TensorComparison]) -> bool:
    """Whether every array of either file is in the other and has the same elements, float ones
    included: asked to compare two files, a user means equal."""
    return all(one.differing == 0 for one in comparisons)


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an `.npz`, which is untrusted: no pickles.

    Raises:
        ModelError: it cannot be read, is not an `.npz`, or one of its arrays is broken.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ModelError(f"{path}: a single array; expected an .npz with named arrays")
        with loaded:
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _BROKEN as error:
        raise ModelError(f"{path}: not a readable .npz: {error}") from error
