"""Compare two `.npz` files, array by array (``edgefarm compare a.npz b.npz``)."""

from collections.abc import Sequence
from pathlib import Path

from harness.judge.compare import compare_tensor
from harness.records import TensorComparison
from harness.sources.npz import read_npz


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
