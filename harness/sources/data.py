"""DATA references and what they hold: ``.npz``, a folder of images, ``file.py:function``, the zoo.

- ``.npz``: arrays ``in0, in1, …`` in the model's own layout, first axis the samples (with one
  input, any single name will do; where the model's inputs have names, those do too); ``labels``
  (class of each sample), ``groups`` (samples of one group, e.g. of one patient, never fall on both
  sides of the split) and ``calibration0, …`` (as the inputs: samples for calibration only) are
  optional. An input that is no batch (a mask for all samples, a table, a scalar) is given once, of
  its own shape; `harness.sources.batches` says how that is known, and the run has a note of it.
- folder: of images, with a ``labels.csv`` or a folder for each class; see
  `harness.sources.images`.
- ``file.py:function``: yields batches: an array, a pair (array or tuple of arrays, labels), or a
  dict with the names of the ``.npz``.
"""

import importlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import cast
from harness.errors import ModelError, UsageError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.model import Model, ModelInput
from harness.sources.batches import arrange, fits, sample_count
from harness.sources.dataset import Dataset
from harness.sources.hints import dtype_hint, label_hint, shape_hint, size_hint, with_hint
from harness.sources.images import load_images
from harness.sources.npz import MAX_BYTES, read_npz
from harness.sources.references import Reference, load_function, parse_reference

Array = npt.NDArray[Any]

MAX_BATCHES = 1 << 17
"""What a function may yield; the bytes of all are limited too."""
_TIMEOUT_S = 600.0
_REPORT_EVERY_S = 0.2


def parse_data(text: str) -> Reference:
    """Parse a DATA reference; raises UsageError naming what is expected."""
    return parse_reference(text, what="data", suffixes=(".npz",), folder=True)


def load_data(text: str, model: Model, progress: Progress = no_progress) -> Dataset:
    """Load a DATA reference and check it against the model's inputs.

    Raises:
        UsageError: no such file, unknown suffix, a broken file, a function that is missing, fails
            or gives the wrong thing, or samples that are not what the model takes; names the input,
            the sample, what it has, what is allowed and, where that is clear, what to do.
    """
    reference = parse_data(text)
    progress("loading the data", 0, None)
    if reference.kind == "folder" and reference.path is not None:
        dataset = load_images(reference.path, model)
    elif reference.kind == ".npz" and reference.path is not None:
        dataset = from_arrays(_by_position(read_npz(reference.path), model), text)
    else:
        dataset = _from_source(reference, text, progress)
    return check(dataset, model, text)


def _from_source(reference: Reference, text: str, progress: Progress) -> Dataset:
    try:
        return run_isolated(
            _run_source, reference, what=text, timeout_s=_TIMEOUT_S, progress=progress
        )
    except ModelError as error:  # the caller's own code failed
        raise UsageError(str(error)) from error


def _by_position(arrays: dict[str, Array], model: Model) -> dict[str, Array]:
    """Arrays that have the names of the model's inputs, as ``in0, in1, …``."""
    places = {x.name: f"in{index}" for index, x in enumerate(model.inputs) if x.name}
    if len(places) < len(model.inputs) or not places.keys() <= arrays.keys():
        return arrays
    return {places.get(name, name): array for name, array in arrays.items()}


def from_arrays(arrays: dict[str, Array], where: str) -> Dataset:
    """Sort named arrays (of an ``.npz``) into a Dataset.

    Raises:
        UsageError: the names leave open what the inputs are.
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
        raise UsageError(
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
    arrays = _gather(batches, str(reference), progress)
    return from_arrays(arrays, str(reference))


def _gather(batches: Iterable[object], where: str, progress: Progress) -> dict[str, Array]:
    """All batches, joined; those without end are refused at a limit."""
    gathered: dict[str, list[Array]] = {}
    size, said = 0, time.monotonic()
    for count, batch in enumerate(batches):
        arrays = _batch_arrays(batch, f"{where}: batch {count}")
        if gathered:
            _check_batch(arrays, {k: v[0] for k, v in gathered.items()}, f"{where}: batch {count}")
        for name, array in arrays.items():
            gathered.setdefault(name, []).append(array)
        size += sum(array.nbytes for array in arrays.values())
        if count >= MAX_BATCHES or size > MAX_BYTES:
            raise UsageError(
                f"{where}: {count + 1} batches of {size} bytes in all, and no end; allowed: "
                f"{MAX_BATCHES} batches, {MAX_BYTES} bytes. If it goes on for ever, end it, e.g. "
                "with itertools.islice(batches(), 50)"
            )
        if count == 0 or time.monotonic() - said > _REPORT_EVERY_S:
            said = time.monotonic()
            progress("reading batches", count + 1, None)
    if not gathered:
        raise UsageError(f"{where}: yielded no batch")
    return {name: np.concatenate(column) for name, column in gathered.items()}


def _check_batch(arrays: dict[str, Array], first: dict[str, Array], where: str) -> None:
    """Raise UsageError unless a batch can be joined to the first."""
    if arrays.keys() != first.keys():
        raise UsageError(
            f"{where} has {', '.join(arrays)}, those before it have {', '.join(first)}"
        )
    for name, array in arrays.items():
        if array.ndim == 0 or array.shape[1:] != first[name].shape[1:]:
            raise UsageError(
                f"{where}: {name}: each sample has shape {array.shape[1:]}, "
                f"those before it have {first[name].shape[1:]}"
            )


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
    """The dataset with inputs in the model's dtypes, or UsageError naming what is wrong."""
    inputs, notes = _check_inputs(dataset.inputs, model, where)
    count = sample_count(inputs)
    for name, column in (("labels", dataset.labels), ("groups", dataset.groups)):
        if column is not None and column.shape != (count,):
            said = f"{where}: {name} has shape {column.shape}, expected ({count},)"
            raise UsageError(with_hint(said, label_hint(column, count) if name == "labels" else ""))
    if dataset.labels is not None:
        if dataset.labels.dtype.kind not in "iu":
            raise UsageError(
                f"{where}: labels are {dataset.labels.dtype}, expected integers, the class of each "
                "sample. For a model that gives no classes leave labels out: its outputs are held "
                "against the float model's, see [cost] in limits.toml"
            )
        if dataset.labels.min() < 0:
            sample = int(dataset.labels.argmin())
            raise UsageError(f"{where}: labels, sample {sample}: {dataset.labels[sample]} is < 0")
    if dataset.groups is not None and dataset.groups.dtype.kind not in "iuUS":
        raise UsageError(f"{where}: groups are {dataset.groups.dtype}, expected integers or text")
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
        raise UsageError(
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
        said = f"{where}: each sample has shape {array.shape[1:]}"
        said += f", the model takes {wanted.shape[1:]}"
        hint = size_hint(array.shape, wanted.shape, wanted.free_axes, where.rpartition(": ")[2])
        raise UsageError(with_hint(said, hint or shape_hint(array.shape, wanted.shape[1:])))
    dtype = np.dtype(wanted.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(array)))
        raise UsageError(
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
    hint = dtype_hint(array.dtype, dtype, quantized=wanted.quantized)
    raise UsageError(with_hint(f"{where}: dtype is {array.dtype}; allowed: {allowed}", hint))
