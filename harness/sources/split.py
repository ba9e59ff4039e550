"""Split a dataset into calibration and evaluation samples: deterministic, and apart."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.sources.batches import sample_count, take_samples
from harness.sources.dataset import Dataset

DEFAULT_CALIBRATION = 64
_SEED = 0


@dataclass(frozen=True)
class Split:
    """The two parts of a dataset.

    Attributes:
        calibration, evaluation: one array for each input; the first axis is the sample.
        labels: of the evaluation samples; None without.
        notes: what the reader of a result should know, e.g. that the parts overlap.
    """

    calibration: tuple[npt.NDArray[Any], ...]
    evaluation: tuple[npt.NDArray[Any], ...]
    labels: npt.NDArray[Any] | None
    notes: tuple[str, ...] = ()


def split(dataset: Dataset, calibration: int = DEFAULT_CALIBRATION) -> Split:
    """Split off at most `calibration` samples, and never more than a third of all.

    The choice is seeded, goes round the classes when there are labels, and takes groups whole, so
    no group is on both sides. Samples meant for calibration only are used first and leave all
    others to evaluation. The parts overlap only when there is a single sample or group; then a
    note says so.
    """
    if dataset.calibration is not None:
        chosen = take_samples(dataset.calibration, slice(calibration))
        return Split(chosen, dataset.inputs, dataset.labels, dataset.notes)
    count = sample_count(dataset.inputs)
    units = _units(dataset, count)
    if len(units) == 1:
        note = "calibration and evaluation data overlap: there is only one sample or group"
        limited = take_samples(dataset.inputs, slice(calibration))
        return Split(limited, dataset.inputs, dataset.labels, (*dataset.notes, note))
    wanted = max(1, min(calibration, count // 3))
    taken: list[int] = []
    for unit in units:
        if len(taken) + len(unit) <= wanted:
            taken.extend(unit)
    taken = taken or min(units, key=len)
    chosen_at = np.zeros(count, bool)
    chosen_at[taken] = True
    labels = None if dataset.labels is None else dataset.labels[~chosen_at]
    return Split(
        take_samples(dataset.inputs, chosen_at),
        take_samples(dataset.inputs, ~chosen_at),
        labels,
        dataset.notes,
    )


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
