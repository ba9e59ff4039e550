"""Split a dataset into samples for calibration, for tuning and for evaluation: deterministic, and
apart."""

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError
from harness.sources.batches import sample_count, take_samples
from harness.sources.dataset import Dataset

DEFAULT_CALIBRATION = 64
MOST_TUNING = 512
"""Samples for tuning: each recipe that is tried runs on all of them."""
_SEED = 0


@dataclass(frozen=True)
class Split:
    """The parts of a dataset.

    Attributes:
        calibration, evaluation: one array for each input; the first axis is the sample.
        labels: of the evaluation samples; None without.
        tuning: as `evaluation`, and apart from it: what recipes are chosen by. Empty unless it was
            asked for.
        tuning_labels: of the tuning samples; None without.
        notes: what the reader of a result should know, e.g. that the parts overlap.
    """

    calibration: tuple[npt.NDArray[Any], ...]
    evaluation: tuple[npt.NDArray[Any], ...]
    labels: npt.NDArray[Any] | None
    notes: tuple[str, ...] = ()
    tuning: tuple[npt.NDArray[Any], ...] = ()
    tuning_labels: npt.NDArray[Any] | None = None


def split(
    dataset: Dataset, calibration: int = DEFAULT_CALIBRATION, *, tuning: bool = False
) -> Split:
    """Split off at most `calibration` samples, and never more than a third of all.

    The choice is seeded, goes round the classes when there are labels, and takes groups whole, so
    no group is on both sides. Samples meant for calibration only are used first and leave all
    others to evaluation. Calibration and evaluation overlap only when there is a single sample or
    group; then a note says so.

    Args:
        dataset: all samples.
        calibration: most samples for calibration.
        tuning: whether half of what is left, at most `MOST_TUNING` samples, is for tuning and not
            for evaluation. Calibration has the same samples either way.

    Raises:
        UsageError: there are too few samples or groups for a part of their own for tuning.
    """
    count = sample_count(dataset.inputs)
    units = _units(dataset, count)
    if dataset.calibration is not None:
        parts = Split(
            take_samples(dataset.calibration, slice(calibration)),
            dataset.inputs,
            dataset.labels,
            dataset.notes,
        )
        return _tuned(dataset, parts, units) if tuning else parts
    if len(units) == 1 and not tuning:
        note = "calibration and evaluation data overlap: there is only one sample or group"
        limited = take_samples(dataset.inputs, slice(calibration))
        return Split(limited, dataset.inputs, dataset.labels, (*dataset.notes, note))
    wanted = max(1, min(calibration, count // 3))
    taken, left = _take(units, wanted)
    samples, _ = _at(dataset, taken)
    parts = Split(samples, *_at(dataset, left), dataset.notes)
    return _tuned(dataset, parts, left) if tuning else parts


def _tuned(dataset: Dataset, parts: Split, units: list[list[int]]) -> Split:
    """The parts with half of the units taken from evaluation."""
    if len(units) < 2:
        raise UsageError(
            "the data are too few to choose a recipe by: samples for calibration, tuning and "
            f"evaluation must be apart, and there {_are(len(units))} left beside calibration; "
            "give more samples, or more groups"
        )
    count = sum(len(unit) for unit in units)
    taken, left = _take(units, max(1, min(MOST_TUNING, count // 2)))
    evaluation, labels = _at(dataset, left)
    tuning, tuning_labels = _at(dataset, taken)
    return replace(
        parts, evaluation=evaluation, labels=labels, tuning=tuning, tuning_labels=tuning_labels
    )


def _are(units: int) -> str:
    return "is 1 sample or group" if units else "is none"


def _take(units: list[list[int]], wanted: int) -> tuple[list[list[int]], list[list[int]]]:
    """Units of at most `wanted` samples in all, or the smallest; and the others, both in order."""
    taken, size = [], 0
    for place, unit in enumerate(units):
        if size + len(unit) <= wanted:
            taken.append(place)
            size += len(unit)
    taken = taken or [min(range(len(units)), key=lambda place: len(units[place]))]
    chosen = set(taken)
    return (
        [unit for place, unit in enumerate(units) if place in chosen],
        [unit for place, unit in enumerate(units) if place not in chosen],
    )


def _at(
    dataset: Dataset, units: list[list[int]]
) -> tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[Any] | None]:
    """Samples and labels of these units, in the order of the data."""
    places = np.sort(np.fromiter(chain.from_iterable(units), np.intp))
    labels = None if dataset.labels is None else dataset.labels[places]
    return take_samples(dataset.inputs, places), labels


def all_for_evaluation(dataset: Dataset) -> Split:
    """Every sample is evaluated: for a model that came quantized and needs no calibration."""
    first = take_samples(dataset.inputs, slice(1))
    return Split(first, dataset.inputs, dataset.labels, dataset.notes)


def _units(dataset: Dataset, count: int) -> list[list[int]]:
    """Samples that must stay together, shuffled, then dealt in turn over the classes."""
    groups = np.arange(count) if dataset.groups is None else dataset.groups
    members: dict[Any, list[int]] = defaultdict(list)
    for sample, group in enumerate(groups.tolist()):
        members[group].append(sample)
    units = list(members.values())
    order = np.random.default_rng(_SEED).permutation(len(units))
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for index in order:
        unit = units[index]
        by_class[0 if dataset.labels is None else int(dataset.labels[unit[0]])].append(unit)
    dealt = chain.from_iterable(zip_longest(*(by_class[key] for key in sorted(by_class))))
    return [unit for unit in dealt if unit is not None]
