"""Export: a model and its data as files that need no code of the submitter to be read.

What leaves this machine is a ``.tflite`` (or a ``.pt2``, for targets that compile from PyTorch) and
an ``.npz``. Python files, the zoo and folders of images are read here, by their owner.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import TensorSpec, join_whole, manifest_beside, to_device
from harness.emulator.formats.model_file import is_lowered
from harness.errors import UsageError
from harness.host.cache import Cache
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.model import Model
from harness.prepare import open_request, prepared
from harness.recipe import RECIPES
from harness.request import Request
from harness.sources.flat import flat_module, flatten
from harness.sources.models import load_original, parse_model
from harness.target import Target

Array = npt.NDArray[Any]

FLOAT = RECIPES["float"]
_TIMEOUT_S = 3600.0


def export(
    model: str,
    data: str,
    target: Target,
    folder: Path,
    *,
    cache: Cache,
    progress: Progress = no_progress,
) -> tuple[Path, Path]:
    """Write a model and its data into a folder.

    For a target that takes ``.tflite`` files the model is converted in float, and the samples are
    put into that file's layout: quantized there, it becomes the artifact that it would become here.

    Args:
        model, data: references, see `harness.sources`.
        target: what it is for.
        folder: exists; gets the files.

    Returns:
        The model's file and the data's.

    Raises:
        UsageError: a reference is wrong.
        ModelError: the model cannot be exported, or the data is not for it.
    """
    # Quantized and compiled is it where it arrives.
    plain = replace(target, recipes=(FLOAT.name,), socs=(), compile=None)
    request = Request(model, data, plain, FLOAT)
    made = None
    if is_lowered(parse_model(model).kind) or target.suffix != ".tflite":
        opened, dataset = open_request(request, progress, any_recipe=True)
    else:
        ready = prepared(request, cache=cache, progress=progress)
        opened, dataset, made = ready.model, ready.dataset, ready.lowered
    inputs = _as_given(opened, dataset.inputs)
    calibration = dataset.calibration and _as_given(opened, dataset.calibration)
    source = Path(opened.resolved)
    file = folder / f"{_stem(opened)}{'.tflite' if target.suffix == '.tflite' else '.pt2'}"
    if source.suffix == file.suffix:
        shutil.copyfile(source, file)
        if own := manifest_beside(source):  # it stays here, so the samples take the file's layout
            inputs = _permuted(own.inputs, inputs)
            calibration = None if calibration is None else _permuted(own.inputs, calibration)
    elif is_lowered(source.suffix):
        raise UsageError(
            f"model {model}: a server takes .tflite and .pt2 files; submit the model that this "
            "was made of, or run it here with `edgefarm run`"
        )
    elif made is not None:
        shutil.copyfile(made.path, file)
        specs = made.manifest.inputs
        inputs = _moved(specs, inputs)
        calibration = None if calibration is None else _moved(specs, calibration)
    else:
        run_isolated(
            _save_pt2, opened, file, what=f"{model}: torch.export", timeout_s=_TIMEOUT_S,
            progress=progress,
        )  # fmt: skip
    arrays: dict[str, Any] = {f"in{index}": x for index, x in enumerate(inputs)}
    arrays |= {f"calibration{index}": x for index, x in enumerate(calibration or ())}
    columns = {"labels": dataset.labels, "groups": dataset.groups}
    arrays |= {name: column for name, column in columns.items() if column is not None}
    np.savez_compressed(folder / "data.npz", **arrays)
    return file, folder / "data.npz"


def _moved(specs: tuple[TensorSpec, ...], inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(to_device(spec, x) for spec, x in zip(specs, inputs, strict=True))


def _as_given(model: Model, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Samples as a user gives them: an input given whole has its own shape."""
    return tuple(join_whole(taken.shape, x) for taken, x in zip(model.inputs, inputs, strict=True))


def _permuted(specs: tuple[TensorSpec, ...], inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(
        x if spec.permutation is None else np.ascontiguousarray(np.transpose(x, spec.permutation))
        for spec, x in zip(specs, inputs, strict=True)
    )


def _stem(model: Model) -> str:
    """A file name that says which model it is."""
    reference = parse_model(model.resolved)
    name = reference.name or (reference.path.stem if reference.path else "") or "model"
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:80]


def _save_pt2(model: Model, file: Path, _progress: Progress) -> None:
    """Isolated only: it runs the submitter's code."""
    import torch

    module, args, kwargs = load_original(parse_model(model.resolved))
    named = flat_module(module, args, kwargs, named=True)
    examples = tuple((flatten(args).tensors | flatten(kwargs).tensors).values())
    torch.export.save(torch.export.export(named, examples, strict=False), file)
