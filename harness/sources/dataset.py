"""Dataset: samples for one model, however they were given."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """Samples for one model.

    Attributes:
        inputs: one array for each input of the model, in the form of `harness.sources.batches`:
            the first axis is the sample.
        labels: (n,) integers, class of each sample; None without.
        groups: (n,) integers or text; None without.
        calibration: samples meant for calibration only, as `inputs`; None to take some of
            `inputs`.
        notes: what the reader of a result should know about the data.
    """

    inputs: tuple[Array, ...]
    labels: Array | None = None
    groups: Array | None = None
    calibration: tuple[Array, ...] | None = None
    notes: tuple[str, ...] = ()
