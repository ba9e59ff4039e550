"""Dataset: samples for one model, however they were given."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from harness.host.cache import arrays_key, content_key

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

    def digest(self) -> str:
        """Hex sha256 of all that a split of it depends on: the samples, their labels and groups."""
        told = (*self.inputs, self.labels, self.groups, *(self.calibration or ()))
        given = [place for place, x in enumerate(told) if x is not None]
        return content_key(
            {"given": given, "arrays": arrays_key([x for x in told if x is not None])}
        )
