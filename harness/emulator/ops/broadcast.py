"""How LiteRT's optimized element-wise kernels walk over two inputs, by their shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Walk:
    """The output, in its order, is cut into runs; the inner kernel is called for each.

    Attributes:
        kind: "pairs", of two rows; "scalar", of a row and one element; "generic": the shapes need
            the reference kernel.
        run: elements in a run; 1 where generic.
    """

    kind: Literal["pairs", "scalar", "generic"]
    run: int


def walk(first: Shape, second: Shape) -> Walk:
    """How two shapes that broadcast are walked over.

    From the last axis on: equal dimensions join into a run. When they are all 1, the run is the
    dimensions along which one input is repeated. Equal ones may follow, ones along which the other
    input is repeated, and equal ones again; more is generic.

    Source: LiteRT kernels/internal/reference/process_broadcast_shapes.h, ProcessBroadcastShapes;
    internal/optimized/optimized_ops.h, BinaryBroadcastFiveFold.
    """
    rank = max(len(first), len(second))
    pairs = list(
        zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    )
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    if differing and differing[-1][0] != 1:
        pairs = [(b, a) for a, b in pairs]
    inner = _take(pairs, lambda a, b: a == b)
    repeated = _take(pairs, lambda a, _: a == 1)
    _take(pairs, lambda a, b: a == b)
    _take(pairs, lambda _, b: b == 1)
    _take(pairs, lambda a, b: a == b)
    if pairs:
        return Walk("generic", 1)
    if not differing or inner > 1:
        return Walk("pairs", inner)
    return Walk("scalar", repeated)


def _take(pairs: list[tuple[int, int]], holds: Callable[[int, int], bool]) -> int:
    """Remove dimensions from the end while the condition holds; their product, of the second."""
    size = 1
    while pairs and holds(*pairs[-1]):
        size *= pairs.pop()[1]
    return size
