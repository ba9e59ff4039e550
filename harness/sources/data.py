"""DATA references and what they hold: ``.npz``, a folder of images, ``file.py:function``, the zoo.

- ``.npz``: arrays ``in0, in1, …`` in the model's own layout, first axis the samples (with one
  input, any single name will do; where the model's inputs have names, those do too); ``labels``
  (class of each sample), ``groups`` (samples of one group, e.g. of one patient, never fall on both
  sides of the split) and ``calibration0, …`` (as the inputs: samples for calibration only) are
  optional. An input that is no batch (a mask for all samples, a table, a scalar) is given once, of
  its own shape; `harness.sources.batches` says how that is known, and the run has a note of it.
- folder: see `harness.sources.images`.
- ``file.py:function``: yields batches: an array, a pair (array or tuple of arrays, labels), or a
  dict with the names of the ``.npz``.
"""

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import cast
from harness.errors import ModelError, UsageError
from harness.isolate import run_isolated
from harness.model import Model, ModelInput
from harness.sources.batches import arrange, fits, sample_count
from harness.sources.dataset import Dataset
from harness.sources.images import load_images
from harness.sources.npz import read_npz
from harness.sources.references import Reference, load_function, parse_reference
from harness.target import Progress, no_progress

Array = npt.NDArray[Any]

_TIMEOUT_S = 600.0


def load_data(text: str, model: Model, progress: Progress = no_progress) -> Dataset:
    """Load a DATA reference and check it against the model's inputs.

    Raises:
        UsageError: no such file, unknown suffix, function missing or returning the wrong thing.
        ModelError: the file is broken, or samples are not what the model takes; names the input,
            the sample, what it has and what is allowed.
    """
    reference = parse_reference(text, what="data", suffixes=(".npz",), folder=True)
    progress("loading the data", 0, None)
    if reference.kind == "folder" and reference.path is not None:
        dataset = load_images(reference.path, model)
    elif reference.kind == ".npz" and reference.path is not None:
        dataset = from_arrays(_by_position(read_npz(reference.path), model), text)
    else:
        dataset = run_isolated(
            _run_source, reference, what=text, timeout_s=_TIMEOUT_S, progress=progress
        )
    return check(dataset, model, text)


def _by_position(arrays: dict[str, Array], model: Model) -> dict[str, Array]:
    """Arrays that have the names of the model's inputs, as ``in0, in1, …``."""
    places = {x.name: f"in{index}" for index, x in enumerate(model.inputs) if x.name}
    if len(places) < len(model.inputs) or not places.keys() <= arrays.keys():
        return arrays
    return {places.get(name, name): array for name, array in arrays.items()}


def from_arrays(arrays: dict[str, Array], where: str) -> Dataset:
    """Sort named arrays (of an ``.npz``) into a Dataset.

    Raises:
        ModelError: the names leave open what the inputs are.
    """
    named = dict(arrays)
    labels, groups = named.pop("labels", None), named.pop("groups", None)
    calibration = tuple(
        named.pop(f"calibration{index}")
        for index in range(len(named))
        if f"calibration{index}" in named
    )
    ordered = [f"in{index}" for index in range(len(named))]
    if len(named) == 1:
        ordered = list(named)
    if not named or set(ordered) != set(named):
        raise ModelError(
            f"{where}: has arrays {', '.join(sorted(arrays)) or '(none)'}; "
            "expected in0, in1, … (or a single input), and optionally labels, groups and "
            "calibration0, …"
        )
    inputs = tuple(named[name] for name in ordered)
    return Dataset(inputs, labels, groups, calibration or None)


def _run_source(reference: Reference, progress: Progress) -> Dataset:
    """Isolated only: run the zoo's or the user's code."""
    if reference.kind == "zoo":
        entry = importlib.import_module(f"harness.sources.zoo.{reference.name.replace('-', '_')}")
        dataset: Dataset = entry.data()
        return dataset
    batches = load_function(reference)()
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes | dict):
        raise UsageError(f"{reference}: must yield batches, got {type(batches).__name__}")
    gathered: dict[str, list[Array]] = {}
    for count, batch in enumerate(batches):
        arrays = _batch_arrays(batch, f"{reference}: batch {count}")
        if gathered and arrays.keys() != gathered.keys():
            raise UsageError(
                f"{reference}: batch {count} has {', '.join(arrays)}, "
                f"those before it have {', '.join(gathered)}"
            )
        for name, array in arrays.items():
            gathered.setdefault(name, []).append(array)
        progress("reading batches", count + 1, None)
    if not gathered:
        raise UsageError(f"{reference}: yielded no batch")
    return from_arrays({k: np.concatenate(v) for k, v in gathered.items()}, str(reference))


def _batch_arrays(batch: object, where: str) -> dict[str, Array]:
    if isinstance(batch, dict):
        return {str(name): np.asarray(value) for name, value in batch.items()}
    inputs: Sequence[object] = (batch,)
    labels: dict[str, Array] = {}
    if isinstance(batch, tuple | list):
        if len(batch) != 2:
            raise UsageError(
                f"{where}: a tuple of {len(batch)}; expected (inputs, labels), one array, or a dict"
            )
        inputs = batch[0] if isinstance(batch[0], tuple | list) else (batch[0],)
        labels["labels"] = np.asarray(batch[1])
    arrays = {f"in{index}": np.asarray(value) for index, value in enumerate(inputs)}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise UsageError(f"{where}: {name}: expected an array of samples, got {array.dtype}")
    return arrays | labels


def check(dataset: Dataset, model: Model, where: str) -> Dataset:
    """The dataset with inputs in the model's dtypes, or ModelError naming what is wrong."""
    inputs, notes = _check_inputs(dataset.inputs, model, where)
    count = sample_count(inputs)
    for name, column in (("labels", dataset.labels), ("groups", dataset.groups)):
        if column is not None and column.shape != (count,):
            raise ModelError(f"{where}: {name} has shape {column.shape}, expected ({count},)")
    if dataset.labels is not None:
        if dataset.labels.dtype.kind not in "iu":
            raise ModelError(f"{where}: labels are {dataset.labels.dtype}, expected integers")
        if dataset.labels.min() < 0:
            sample = int(dataset.labels.argmin())
            raise ModelError(f"{where}: labels, sample {sample}: {dataset.labels[sample]} is < 0")
    if dataset.groups is not None and dataset.groups.dtype.kind not in "iuUS":
        raise ModelError(f"{where}: groups are {dataset.groups.dtype}, expected integers or text")
    calibration = dataset.calibration
    if calibration is not None:
        calibration, _ = _check_inputs(calibration, model, f"{where} (calibration)")
    notes = (*dataset.notes, *notes)
    return Dataset(inputs, dataset.labels, dataset.groups, calibration, notes)


def _check_inputs(
    arrays: tuple[Array, ...], model: Model, where: str
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """The arrays in the form of `harness.sources.batches`, and what was decided about them."""
    if len(arrays) != len(model.inputs):
        raise ModelError(
            f"{where}: has {len(arrays)} inputs, the model {model.reference} takes "
            f"{len(model.inputs)}"
        )
    checked = tuple(
        _check_array(array, wanted, f"{where}: in{index}")
        for index, (array, wanted) in enumerate(zip(arrays, model.inputs, strict=True))
    )
    return arrange(checked, model.inputs, where)


def _check_array(array: Array, wanted: ModelInput, where: str) -> Array:
    if not fits(array, wanted):
        raise ModelError(
            f"{where}: each sample has shape {array.shape[1:]}, the model takes {wanted.shape[1:]}"
        )
    dtype = np.dtype(wanted.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(array)))
        raise ModelError(
            f"{where}: sample {place[0]}, element {place[1:]}: {array[place]}; "
            "allowed: finite numbers"
        )
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "f" and (dtype.kind == "f" or wanted.quantized):
        return array.astype(np.float32 if wanted.quantized else dtype)
    if array.dtype.kind in "biu" and dtype.kind in "biu" and not wanted.quantized:
        return cast(array, dtype, where)
    if array.dtype.kind == "b" and dtype.kind == "f":
        return array.astype(dtype)
    allowed = f"{wanted.dtype} or float" if wanted.quantized or dtype.kind == "f" else wanted.dtype
    raise ModelError(f"{where}: dtype is {array.dtype}; allowed: {allowed}")
