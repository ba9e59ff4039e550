"""Accuracy: classification scores with their uncertainty, from a model's outputs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError
from harness.judge.scoring import Scored, outputs_of, scored_output, threshold
from harness.records import Accuracy, Proportion

Array = npt.NDArray[Any]

_Z95 = 1.959963984540054
_MIN_CLASSES_FOR_TOP5 = 6
_NEAR = 0.05
"""Of the spread of a sample's scores: two that are closer are almost the same."""


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


def paired_drop(hits: Array, float_hits: Array) -> Proportion:
    """Share of samples that float has right minus the share of the device, on the same samples,
    with its 95 % interval: Agresti and Min, 2005, who add a half to each of the four counts."""
    lost, won = int(np.sum(float_hits & ~hits)), int(np.sum(hits & ~float_hits))
    n, b, c = len(hits) + 2, lost + 0.5, won + 0.5
    middle = (b - c) / n
    half = _Z95 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return Proportion((lost - won) / len(hits), max(-1.0, middle - half), min(1.0, middle + half))


def accuracy_of(
    outputs: Sequence[Array],
    samples: int,
    *,
    labels: Array | None = None,
    in_float: Sequence[Array] | None = None,
    names: Sequence[str] = (),
) -> Accuracy | None:
    """Score a classifier on its device's outputs; None when no output has scores for each sample,
    or there is nothing to hold them against.

    Which output is scored says `judge.scoring`. Of equal scores the lower class wins, as argmax
    has it on every runtime; NaN never wins.

    Args:
        outputs: of the device, real or integer; the first axis is the sample.
        samples: how many there are; an output of another length has nothing to score.
        labels: the true class of each sample.
        in_float: outputs of the float model, on the same samples.
        names: of the outputs.

    Raises:
        UsageError: no output can be held against the labels.
        ModelError: the float model's output has another shape.
    """
    if not samples or (labels is None and in_float is None):
        return None
    scored = scored_output(outputs_of(outputs, samples, names), labels, samples)
    if scored is None:
        return None
    x = outputs[scored.output]
    reference = None if in_float is None else in_float[scored.output]
    if reference is not None and (reference.size != x.size or len(reference) != samples):
        raise ModelError(
            f"float model: its output has shape {reference.shape}, the device's has {x.shape}"
        )
    above, how = 0.0, ""
    if scored.reading == "binary":
        above, how = threshold(x if reference is None else reference)
    chosen, rows = _read(scored, x, above)
    truth = None if labels is None else labels.reshape(-1).astype(np.int64)
    top1 = top5 = float_top1 = agreement = near = drop = None
    if truth is not None:
        top1 = _share(chosen == truth)
        if scored.reading == "scores" and rows.shape[1] >= _MIN_CLASSES_FOR_TOP5:
            top5 = _share(_rank_of(rows, truth) < 5)
    if reference is not None:
        float_chosen, float_rows = _read(scored, reference, above)
        if truth is not None:
            float_top1 = _share(float_chosen == truth)
            drop = paired_drop(chosen == truth, float_chosen == truth)
        same = (chosen == float_chosen) & (chosen >= 0)
        agreement, near = _share(same), _share(same | _almost(chosen, float_chosen, float_rows))
    why = f"{scored.why}, {how}" if how else scored.why
    return Accuracy(samples, top1, top5, float_top1, agreement, near, drop, why)


def _share(hits: Array) -> Proportion:
    return wilson(int(np.sum(hits)), len(hits))


def _read(scored: Scored, x: Array, above: float) -> tuple[Array, Array]:
    """The class that each sample chooses, -1 for none; and (samples, classes) in float64, with no
    column where the output is the class's number."""
    if scored.reading == "classes":
        return x.reshape(-1).astype(np.int64), np.empty((len(x), 0))
    if scored.reading == "binary":
        score = x.reshape(-1, 1).astype(np.float64)
        x = np.concatenate([above - score, score - above], axis=1)
    rows = _as_rows(x)
    return _choice(rows), rows


def _almost(chosen: Array, float_chosen: Array, float_rows: Array) -> Array:
    """Samples whose chosen class the float model scores almost as high as its own choice."""
    close: Array = np.zeros(len(chosen), bool)
    finite = np.where(np.isfinite(float_rows), float_rows, np.nan)
    chose = (chosen >= 0) & (float_chosen >= 0)
    known = np.flatnonzero(chose & np.isfinite(finite).any(axis=1))
    if not len(known):
        return close
    spread = np.nanmedian(np.nanmax(finite[known], axis=1) - np.nanmin(finite[known], axis=1))
    own, other = (float_rows[known, each[known]] for each in (float_chosen, chosen))
    close[known] = own - other <= _NEAR * spread
    return close


def _as_rows(logits: Array) -> Array:
    """(samples, classes) in float64, NaN below every number."""
    scores = logits.reshape(len(logits), -1).astype(np.float64)
    return np.where(np.isnan(scores), -np.inf, scores)


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
