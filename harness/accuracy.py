"""Accuracy: classification scores with their uncertainty, from logits."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError
from harness.records import Accuracy, Proportion

Array = npt.NDArray[Any]

_Z95 = 1.959963984540054
_MIN_CLASSES_FOR_TOP5 = 6


def wilson(hits: int, samples: int) -> Proportion:
    """A share with its Wilson score 95 % interval.

    ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)`` with z = 1.959964 (E. B. Wilson,
    1927): inside [0, 1], and not empty when all or none of the samples hit. `samples` > 0.
    """
    p, z2n = hits / samples, _Z95 * _Z95 / samples
    middle = p + z2n / 2
    half = _Z95 * math.sqrt(p * (1 - p) / samples + z2n / (4 * samples))
    # The exact bounds at 0 and at n are 0 and 1; rounding must not miss them.
    low = 0.0 if hits == 0 else (middle - half) / (1 + z2n)
    high = 1.0 if hits == samples else (middle + half) / (1 + z2n)
    return Proportion(p, low, high)


def accuracy_of(
    logits: Array, *, labels: Array | None = None, float_logits: Array | None = None
) -> Accuracy | None:
    """Score a classifier on its device's logits; None when the output is not one row of at least
    two class scores per sample, or there is nothing to hold it against.

    Of equal scores the lower class wins, as argmax has it on every runtime; NaN never wins.

    Args:
        logits: of the device, real or integer: (samples, classes), with any axes of length 1.
        labels: the true class of each sample.
        float_logits: of the float model, on the same samples.

    Raises:
        ModelError: labels or float logits do not fit the logits.
    """
    if not _is_classification(logits) or (labels is None and float_logits is None):
        return None
    scores = _as_rows(logits)
    samples, classes = scores.shape
    top1 = top5 = float_top1 = agreement = None
    if labels is not None:
        truth = _checked_labels(labels, samples, classes)
        rank = _rank_of(scores, truth)
        top1 = wilson(int(np.sum(rank < 1)), samples)
        if classes >= _MIN_CLASSES_FOR_TOP5:
            top5 = wilson(int(np.sum(rank < 5)), samples)
    if float_logits is not None:
        if float_logits.size != scores.size or len(float_logits) != samples:
            raise ModelError(
                f"float model: its output has shape {float_logits.shape}, "
                f"the device's has {logits.shape}"
            )
        float_scores = _as_rows(float_logits)
        if labels is not None:
            float_top1 = wilson(int(np.sum(_rank_of(float_scores, truth) < 1)), samples)
        chosen, float_chosen = _choice(scores), _choice(float_scores)
        agreement = wilson(int(np.sum((chosen == float_chosen) & (chosen >= 0))), samples)
    return Accuracy(samples, top1, top5, float_top1, agreement)


def _is_classification(logits: Array) -> bool:
    return (
        logits.ndim >= 2
        and len(logits) > 0
        and logits.dtype.kind in "iuf"
        and max(logits.shape[1:]) == logits[0].size >= 2
    )


def _as_rows(logits: Array) -> Array:
    """(samples, classes) in float64, NaN below every number."""
    scores = logits.reshape(len(logits), -1).astype(np.float64)
    return np.where(np.isnan(scores), -np.inf, scores)


def _checked_labels(labels: Array, samples: int, classes: int) -> Array:
    """Labels as integers of shape (samples,)."""
    truth = np.asarray(labels).reshape(-1)
    if len(truth) != samples or truth.dtype.kind not in "iu":
        raise ModelError(
            f"labels: {labels.dtype} of shape {labels.shape}; "
            f"expected integers, one for each of {samples} samples"
        )
    outside = np.flatnonzero((truth < 0) | (truth >= classes))
    if len(outside):
        raise ModelError(
            f"labels: class {truth[outside[0]]} of sample {outside[0]} is outside "
            f"the model's {classes} classes (0 to {classes - 1})"
        )
    return truth.astype(np.int64)


def _rank_of(scores: Array, truth: Array) -> npt.NDArray[np.int64]:
    """How many classes come before the true one; a score of -inf (NaN) comes last."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < truth[:, None]))
    rank: npt.NDArray[np.int64] = before.sum(axis=1)
    rank[own[:, 0] == -np.inf] = scores.shape[1]
    return rank


def _choice(scores: Array) -> Array:
    """The class each row chooses; -1 when all its scores are NaN or -inf."""
    chosen: Array = np.where(scores.max(axis=1) == -np.inf, -1, scores.argmax(axis=1))
    return chosen
