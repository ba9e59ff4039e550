"""What to do about samples or labels that are not what the model takes: a sentence, or ""."""

from itertools import permutations
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Shape = tuple[int, ...]

_LAYOUTS = {(2, 0, 1): "channel-last (NHWC)", (1, 2, 0): "channel-first (NCHW)"}
"""Axes of a sample to the model's, and what the sample then is."""
_MOST_PERMUTED = 5


def shape_hint(samples: Shape, wanted: Shape) -> str:
    """How samples of another shape could be made to fit.

    Args:
        samples: shape of the whole array; the first axis is the sample.
        wanted: shape of one sample.
    """
    if samples == wanted:
        return "this is one sample without the axis of the samples: add it with x[np.newaxis]"
    given = samples[1:]
    if axes := _order(given, wanted):
        said = f"the samples are {_LAYOUTS[axes]}, the model is not: " if axes in _LAYOUTS else ""
        moved = (0, *(axis + 1 for axis in axes))
        return f"{said}np.transpose(x, {moved}) gives the model's order of the axes"
    if tuple(size for size in given if size != 1) == tuple(size for size in wanted if size != 1):
        return f"axes of length 1 differ: x.reshape{(-1, *wanted)} gives the model's"
    if samples and prod(given) == prod(wanted):
        return f"if the order of the elements is right, x.reshape{(-1, *wanted)} gives the model's"
    return ""


def size_hint(samples: Shape, wanted: Shape, free_axes: Shape, name: str) -> str:
    """How a file that leaves sizes open can be made to take samples of theirs.

    Args:
        samples: shape of the whole array; the first axis is the sample.
        wanted: shape of the input, which has the size 1 where `free_axes` leave it open.
        free_axes: of the input.
        name: of the input, e.g. ``in0``.
    """
    fits = len(samples) == len(wanted) and all(
        samples[axis] == wanted[axis] or axis in free_axes for axis in range(1, len(wanted))
    )
    if not fits:
        return ""
    sizes = ",".join(map(str, (wanted[0], *samples[1:])))
    return f"the file leaves these sizes open: fix them with --shape {name}={sizes}"


def _order(given: Shape, wanted: Shape) -> Shape | None:
    """The axes of `given` in the order of `wanted`; the usual layouts first, for several may do."""
    if len(given) != len(wanted) or not 2 <= len(given) <= _MOST_PERMUTED:
        return None
    usual = [axes for axes in _LAYOUTS if len(axes) == len(given)]
    for axes in (*usual, *permutations(range(len(given)))):
        if tuple(given[axis] for axis in axes) == wanted:
            return axes
    return None


def dtype_hint(got: "np.dtype[Any]", wanted: "np.dtype[Any]", *, quantized: bool) -> str:
    """How samples of another dtype could be made to fit."""
    if got.kind in "iu" and (wanted.kind == "f" or quantized):
        if got == "uint8":
            return (
                "pictures of 0 to 255 must be scaled as in training, which nobody here knows, "
                "e.g. (x.astype(np.float32) / 255 - mean) / std"
            )
        return "scale as in training, then x.astype(np.float32)"
    if got.kind == "f" and wanted.kind in "iu":
        return f"if these are whole numbers, x.astype(np.{wanted.name}) makes them so"
    return ""


def label_hint(labels: "Array", samples: int) -> str:
    """How labels of another shape could be made one class for each sample."""
    if labels.size == samples:
        return "labels.reshape(-1) gives that"
    if labels.ndim == 2 and len(labels) == samples and (labels.astype(bool).sum(axis=1) == 1).all():
        return "for one-hot rows, labels.argmax(axis=1) gives that"
    if labels.ndim > 1 and len(labels) == samples:
        return (
            "labels are the class of a whole sample; for a model of another kind leave them out: "
            "its outputs are held against the float model's"
        )
    return ""


def with_hint(message: str, hint: str) -> str:
    """The message, and the hint if there is one."""
    return f"{message}; {hint}" if hint else message
